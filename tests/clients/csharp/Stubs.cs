// What the .NET Framework build and the Bonsai node use of packages that cannot be had everywhere,
// as their documentation declares it, so that a compiler can check them. Nothing here does anything.
using System;

namespace System.Net.Http
{
    public class WinHttpHandler : HttpClientHandler { }
}

namespace System.Reactive.Linq
{
    public static class Observable
    {
        public static IObservable<TResult> Using<TResult, TResource>(
            Func<TResource> make, Func<TResource, IObservable<TResult>> use)
            where TResource : IDisposable { return null; }
        public static IObservable<TResult> Select<TSource, TResult>(
            this IObservable<TSource> source, Func<TSource, TResult> selector) { return null; }
    }
}

namespace Bonsai
{
    public abstract class Combinator<TSource, TResult>
    {
        public abstract IObservable<TResult> Process(IObservable<TSource> source);
    }

    public abstract class Transform<TSource, TResult> : Combinator<TSource, TResult> { }
}

namespace OpenCV.Net
{
    public enum IplDepth { U8 = 8 }
    public struct Point2f { public Point2f(float x, float y) { } }

    public class IplImage
    {
        public int Width { get { return 0; } }
        public int Height { get { return 0; } }
        public int WidthStep { get { return 0; } }
        public int Channels { get { return 0; } }
        public IplDepth Depth { get { return IplDepth.U8; } }
        public IntPtr ImageData { get { return IntPtr.Zero; } }
    }
}
