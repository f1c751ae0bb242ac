// What the C# client uses of its packages, as their documentation declares it, so that a compiler
// can check the client where those packages cannot be had. Nothing here does anything.
using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Google.Protobuf
{
    public sealed class ByteString
    {
        public static ByteString CopyFrom(params byte[] bytes) { return null; }
        public static ByteString CopyFrom(byte[] bytes, int offset, int count) { return null; }
    }
}

namespace Google.Protobuf.Collections
{
    public sealed class RepeatedField<T> : List<T> { }
    public sealed class MapField<TKey, TValue> : Dictionary<TKey, TValue> { }
}

namespace Grpc.Core
{
    public sealed class Metadata { public void Add(string key, string value) { } }

    public struct CallOptions
    {
        public CallOptions(
            Metadata headers = null,
            DateTime? deadline = null,
            CancellationToken cancellationToken = default(CancellationToken)) { }
    }

    public abstract class ChannelBase { }
    public class RpcException : Exception { }

    public interface IAsyncStreamReader<out T>
    {
        T Current { get; }
        Task<bool> MoveNext(CancellationToken cancellationToken);
    }

    public interface IClientStreamWriter<in T>
    {
        Task WriteAsync(T message);
        Task CompleteAsync();
    }

    public sealed class AsyncUnaryCall<TResponse> : IDisposable
    {
        public Task<TResponse> ResponseAsync { get { return null; } }
        public void Dispose() { }
    }

    public sealed class AsyncServerStreamingCall<TResponse> : IDisposable
    {
        public IAsyncStreamReader<TResponse> ResponseStream { get { return null; } }
        public void Dispose() { }
    }

    public sealed class AsyncClientStreamingCall<TRequest, TResponse> : IDisposable
    {
        public IClientStreamWriter<TRequest> RequestStream { get { return null; } }
        public Task<TResponse> ResponseAsync { get { return null; } }
        public void Dispose() { }
    }

    public sealed class AsyncDuplexStreamingCall<TRequest, TResponse> : IDisposable
    {
        public IClientStreamWriter<TRequest> RequestStream { get { return null; } }
        public IAsyncStreamReader<TResponse> ResponseStream { get { return null; } }
        public void Dispose() { }
    }
}

namespace System.Net.Http
{
    public abstract class HttpMessageHandler { }
    public class WinHttpHandler : HttpMessageHandler { }
}

namespace Grpc.Net.Client
{
    public sealed class GrpcChannelOptions
    {
        public int? MaxReceiveMessageSize { get; set; }
        public int? MaxSendMessageSize { get; set; }
        public System.Net.Http.HttpMessageHandler HttpHandler { get; set; }
    }

    public sealed class GrpcChannel : Grpc.Core.ChannelBase, IDisposable
    {
        public static GrpcChannel ForAddress(string address, GrpcChannelOptions options) { return null; }
        public void Dispose() { }
    }
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
