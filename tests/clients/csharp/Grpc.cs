// gRPC over .NET's own HTTP/2 client: what the C# client uses of Grpc.Core.Api and Grpc.Net.Client,
// as their documentation declares it, so that the client runs where those packages cannot be had.
using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Threading;
using System.Threading.Tasks;
using Google.Protobuf;

namespace Grpc.Core
{
    public enum StatusCode
    {
        OK, Cancelled, Unknown, InvalidArgument, DeadlineExceeded, NotFound, AlreadyExists, PermissionDenied,
        ResourceExhausted, FailedPrecondition, Aborted, OutOfRange, Unimplemented, Internal, Unavailable,
        DataLoss, Unauthenticated,
    }

    public struct Status
    {
        public Status(StatusCode statusCode, string detail)
        {
            StatusCode = statusCode;
            Detail = detail;
        }

        public StatusCode StatusCode { get; }
        public string Detail { get; }
    }

    public class RpcException : Exception
    {
        public RpcException(Status status) : base(status.StatusCode + ": " + status.Detail)
        {
            Status = status;
        }

        public Status Status { get; }
        public StatusCode StatusCode => Status.StatusCode;
    }

    public sealed class Metadata
    {
        internal Dictionary<string, string> Entries { get; } = new Dictionary<string, string>();
        public void Add(string key, string value) => Entries.Add(key, value);
    }

    public struct CallOptions
    {
        public CallOptions(
            Metadata headers = null,
            DateTime? deadline = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            Headers = headers;
            Deadline = deadline;
            CancellationToken = cancellationToken;
        }

        public Metadata Headers { get; }
        public DateTime? Deadline { get; }
        public CancellationToken CancellationToken { get; }
    }

    public abstract class ChannelBase
    {
        public abstract Call<TRequest, TResponse> Begin<TRequest, TResponse>(
            string method, MessageParser<TResponse> parser, CallOptions options)
            where TRequest : IMessage where TResponse : IMessage<TResponse>;
    }

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

    public sealed class AsyncServerStreamingCall<TResponse> : IDisposable
    {
        private readonly IDisposable call;

        public AsyncServerStreamingCall(IAsyncStreamReader<TResponse> responses, IDisposable call)
        {
            ResponseStream = responses;
            this.call = call;
        }

        public IAsyncStreamReader<TResponse> ResponseStream { get; }
        public void Dispose() => call.Dispose();
    }

    public sealed class AsyncDuplexStreamingCall<TRequest, TResponse> : IDisposable
    {
        private readonly IDisposable call;

        public AsyncDuplexStreamingCall(
            IClientStreamWriter<TRequest> requests, IAsyncStreamReader<TResponse> responses, IDisposable call)
        {
            RequestStream = requests;
            ResponseStream = responses;
            this.call = call;
        }

        public IClientStreamWriter<TRequest> RequestStream { get; }
        public IAsyncStreamReader<TResponse> ResponseStream { get; }
        public void Dispose() => call.Dispose();
    }

    /// <summary>The body of a request: open until no more messages come.</summary>
    internal sealed class RequestBody : HttpContent
    {
        private readonly TaskCompletionSource<bool> complete = Pending<bool>();
        private readonly TaskCompletionSource<Stream> opened = Pending<Stream>();

        internal RequestBody()
        {
            Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        }

        internal Task<Stream> Opened => opened.Task;
        internal void Complete() => complete.TrySetResult(true);

        internal void Fail(Exception reason)
        {
            opened.TrySetException(reason);
            complete.TrySetResult(true);
        }

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext context)
        {
            opened.TrySetResult(stream);
            await complete.Task;
        }

        protected override bool TryComputeLength(out long length)
        {
            length = -1;
            return false;
        }

        private static TaskCompletionSource<T> Pending<T>() =>
            new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>One call: messages out, messages in, a status at the end.</summary>
    public sealed class Call<TRequest, TResponse>
        : IClientStreamWriter<TRequest>, IAsyncStreamReader<TResponse>, IDisposable
        where TRequest : IMessage where TResponse : IMessage<TResponse>
    {
        private const int HeaderBytes = 5;

        private readonly MessageParser<TResponse> parser;
        private readonly CancellationTokenSource stop;
        private readonly CancellationToken asked;
        private readonly DateTime? deadline;
        private readonly RequestBody body = new RequestBody();
        private readonly Task<HttpResponseMessage> sent;
        private int writing;

        internal Call(HttpClient client, string method, MessageParser<TResponse> parser, CallOptions options)
        {
            this.parser = parser;
            asked = options.CancellationToken;
            deadline = options.Deadline;
            stop = CancellationTokenSource.CreateLinkedTokenSource(asked);
            var request = new HttpRequestMessage(HttpMethod.Post, method)
            {
                Version = new Version(2, 0), Content = body,
            };
            request.Headers.Add("te", "trailers");
            foreach (var header in options.Headers?.Entries ?? new Dictionary<string, string>())
            {
                request.Headers.TryAddWithoutValidation(header.Key, header.Value);
            }
            if (deadline is DateTime last)
            {
                var left = last - DateTime.UtcNow;
                request.Headers.Add("grpc-timeout", Math.Max(1, (long)left.TotalMilliseconds) + "m");
                stop.CancelAfter(left > TimeSpan.Zero ? left : TimeSpan.Zero);
            }
            sent = client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, stop.Token);
            sent.ContinueWith(
                done => body.Fail(done.Exception.GetBaseException()),
                TaskContinuationOptions.NotOnRanToCompletion);
        }

        public TResponse Current { get; private set; }

        public async Task WriteAsync(TRequest message)
        {
            if (Interlocked.Exchange(ref writing, 1) == 1)
            {
                throw new InvalidOperationException("the message before is not written yet");
            }
            try
            {
                var stream = await body.Opened;
                var data = message.ToByteArray();
                var framed = new byte[HeaderBytes + data.Length];
                BinaryPrimitives.WriteUInt32BigEndian(framed.AsSpan(1), (uint)data.Length);
                data.CopyTo(framed, HeaderBytes);
                await stream.WriteAsync(framed, 0, framed.Length, stop.Token);
                await stream.FlushAsync(stop.Token);
            }
            catch (Exception error) when (!(error is RpcException))
            {
                throw Lost(error);
            }
            finally
            {
                writing = 0;
            }
        }

        public Task CompleteAsync()
        {
            body.Complete();
            return Task.CompletedTask;
        }

        public async Task<bool> MoveNext(CancellationToken cancellationToken)
        {
            try
            {
                var response = await sent;
                if (Find(response.Headers) is Status refused)
                {
                    throw new RpcException(refused);
                }
                var stream = await response.Content.ReadAsStreamAsync();
                var header = new byte[HeaderBytes];
                if (!await ReadAll(stream, header))
                {
                    var status = Find(response.TrailingHeaders)
                        ?? new Status(StatusCode.Internal, "the answer ended without a status");
                    body.Complete();
                    return status.StatusCode == StatusCode.OK ? false : throw new RpcException(status);
                }
                var data = new byte[BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(1))];
                await ReadAll(stream, data);
                Current = parser.ParseFrom(data);
                return true;
            }
            catch (Exception error) when (!(error is RpcException))
            {
                throw Lost(error);
            }
        }

        public void Dispose()
        {
            stop.Cancel();
            body.Complete();
        }

        private async Task<bool> ReadAll(Stream stream, byte[] into)
        {
            for (var place = 0; place < into.Length;)
            {
                var count = await stream.ReadAsync(into, place, into.Length - place, stop.Token);
                if (count == 0)
                {
                    return place == 0 ? false : throw new EndOfStreamException();
                }
                place += count;
            }
            return true;
        }

        private static Status? Find(HttpHeaders headers)
        {
            if (!headers.TryGetValues("grpc-status", out var codes))
            {
                return null;
            }
            headers.TryGetValues("grpc-message", out var messages);
            var detail = Uri.UnescapeDataString(string.Concat(messages ?? Enumerable.Empty<string>()));
            return new Status((StatusCode)int.Parse(codes.First()), detail);
        }

        private RpcException Lost(Exception error)
        {
            if (error is OperationCanceledException)
            {
                return !asked.IsCancellationRequested && deadline <= DateTime.UtcNow
                    ? new RpcException(new Status(StatusCode.DeadlineExceeded, "no answer in time"))
                    : new RpcException(new Status(StatusCode.Cancelled, "the call was cancelled"));
            }
            return new RpcException(new Status(StatusCode.Unavailable, error.Message));
        }
    }
}

namespace Grpc.Net.Client
{
    using Grpc.Core;

    public sealed class GrpcChannelOptions
    {
        public int? MaxReceiveMessageSize { get; set; }
        public int? MaxSendMessageSize { get; set; }
        public HttpMessageHandler HttpHandler { get; set; }
    }

    public sealed class GrpcChannel : ChannelBase, IDisposable
    {
        private readonly HttpClient client;

        private GrpcChannel(string address)
        {
            AppContext.SetSwitch("System.Net.Http.SocketsHttpHandler.Http2UnencryptedSupport", true);
            client = new HttpClient { BaseAddress = new Uri(address), Timeout = Timeout.InfiniteTimeSpan };
        }

        public static GrpcChannel ForAddress(string address, GrpcChannelOptions options) =>
            new GrpcChannel(address);

        public override Call<TRequest, TResponse> Begin<TRequest, TResponse>(
            string method, MessageParser<TResponse> parser, CallOptions options) =>
            new Call<TRequest, TResponse>(client, method, parser, options);

        public void Dispose() => client.Dispose();
    }
}
