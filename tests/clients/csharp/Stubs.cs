// What the .NET Framework build and the Bonsai node use of packages that cannot be had everywhere, as
// their documentation declares it: .NET Framework's handler for a compiler only, Rx, Bonsai and OpenCV
// small but at work.
using System;
using System.Runtime.InteropServices;

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
            where TResource : IDisposable
        {
            return new Source<TResult>(observer =>
            {
                var resource = make();
                var subscription = use(resource).Subscribe(observer);
                return new Ending(() => { subscription.Dispose(); resource.Dispose(); });
            });
        }

        public static IObservable<TResult> Select<TSource, TResult>(
            this IObservable<TSource> source, Func<TSource, int, TResult> selector)
        {
            return new Source<TResult>(observer => source.Subscribe(new Mapping<TSource, TResult>(selector, observer)));
        }

        private sealed class Source<T> : IObservable<T>
        {
            private readonly Func<IObserver<T>, IDisposable> subscribe;
            public Source(Func<IObserver<T>, IDisposable> subscribe) { this.subscribe = subscribe; }
            public IDisposable Subscribe(IObserver<T> observer) { return subscribe(observer); }
        }

        private sealed class Ending : IDisposable
        {
            private readonly Action end;
            public Ending(Action end) { this.end = end; }
            public void Dispose() { end(); }
        }

        private sealed class Mapping<TSource, TResult> : IObserver<TSource>
        {
            private readonly Func<TSource, int, TResult> selector;
            private readonly IObserver<TResult> observer;
            private int count;

            public Mapping(Func<TSource, int, TResult> selector, IObserver<TResult> observer)
            {
                this.selector = selector;
                this.observer = observer;
            }

            public void OnCompleted() { observer.OnCompleted(); }
            public void OnError(Exception error) { observer.OnError(error); }

            public void OnNext(TSource value)
            {
                TResult result;
                try
                {
                    result = selector(value, count++);
                }
                catch (Exception error)
                {
                    observer.OnError(error);
                    return;
                }
                observer.OnNext(result);
            }
        }
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

    public struct Point2f
    {
        public float X, Y;
        public Point2f(float x, float y) { X = x; Y = y; }
    }

    /// <summary>With rows that are longer than their pixels, as OpenCV pads them.</summary>
    public class IplImage
    {
        public IplImage(int width, int height, byte[] pixels)
        {
            Width = width;
            Height = height;
            WidthStep = (width + 4) & ~3;
            ImageData = Marshal.AllocHGlobal(WidthStep * height);
            for (var row = 0; row < height; row++)
            {
                Marshal.Copy(pixels, row * width, ImageData + row * WidthStep, width);
            }
        }

        public int Width { get; }
        public int Height { get; }
        public int WidthStep { get; }
        public int Channels { get { return 1; } }
        public IplDepth Depth { get { return IplDepth.U8; } }
        public IntPtr ImageData { get; }
    }
}
