using System;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using Ethostream.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

namespace Ethostream
{
    /// <summary>
    /// A connection to a server. Requests and answers are the messages of the protos; a call that is
    /// refused throws RpcException with the server's status and message.
    /// </summary>
    public sealed class Client : IDisposable
    {
        private const int MaxMessageBytes = 64 << 20;
        private const int UploadPieceBytes = 1 << 20; // the server takes 4 MiB

        private readonly GrpcChannel channel;
        private readonly InferenceService.InferenceServiceClient inference;
        private readonly ModelService.ModelServiceClient models;
        private readonly Metadata headers = new Metadata();

        /// <param name="address">http://HOST:PORT, or https://HOST:PORT (.NET Framework: only this).</param>
        /// <param name="token">Sent with every call, where the server asks for one.</param>
        /// <param name="timeoutSeconds">
        /// Longest wait for the answer of a single call, and for any of a live stream that owes one.
        /// </param>
        public Client(
            string address = "http://127.0.0.1:50051", string token = "", double timeoutSeconds = 60)
        {
            TimeoutSeconds = timeoutSeconds;
            var options = new GrpcChannelOptions
            {
                MaxReceiveMessageSize = MaxMessageBytes,
                MaxSendMessageSize = MaxMessageBytes,
            };
#if NETSTANDARD2_0
            options.HttpHandler = new System.Net.Http.WinHttpHandler(); // .NET Framework's own has no HTTP/2
#endif
            channel = GrpcChannel.ForAddress(address, options);
            inference = new InferenceService.InferenceServiceClient(channel);
            models = new ModelService.ModelServiceClient(channel);
            if (token.Length > 0)
            {
                headers.Add("authorization", "Bearer " + token);
            }
        }

        /// <summary>Longest wait for an answer that is owed, s.</summary>
        public double TimeoutSeconds { get; }

        /// <summary>How to run one bundle, `name`, in its highest version that is loaded.</summary>
        public static StreamStart Start(params string[] bundles)
        {
            var start = new StreamStart();
            foreach (var name in bundles)
            {
                var bundle = new BundleReference { Name = name };
                start.Bundles.Add(new BundleSelection { Bundle = bundle });
            }
            return start;
        }

        /// <summary>All bundles of the server, loaded or not.</summary>
        public ListModelsResponse Models()
        {
            return models.ListModels(new ListModelsRequest(), OneCall());
        }

        /// <summary>A session of single calls: works wherever gRPC does.</summary>
        public FrameSession Session(StreamStart start)
        {
            return new FrameSession(
                request => inference.AnalyzeFrame(request, OneCall()), start);
        }

        /// <summary>
        /// A live stream: a frame need not wait for the answer to the one before, but it needs streams
        /// in both directions (.NET 8, or .NET Framework on Windows 11).
        /// </summary>
        public Task<LiveStream> StreamAsync(StreamStart start, CancellationToken stop = default(CancellationToken))
        {
            return LiveStream.OpenAsync(inference.StreamFrames(Headers(stop)), start, TimeoutSeconds);
        }

        /// <summary>Analyzes a video of the server, or an upload; its results come as a stream.</summary>
        public AsyncServerStreamingCall<AnalyzeVideoResponse> AnalyzeVideo(
            AnalyzeVideoRequest request, CancellationToken stop = default(CancellationToken))
        {
            return inference.AnalyzeVideo(request, Headers(stop));
        }

        /// <summary>Uploads a video piece by piece and returns its id.</summary>
        public string Upload(string path)
        {
            using (var file = File.OpenRead(path))
            {
                var request = new UploadChunkRequest
                {
                    Start = new UploadStart
                    {
                        Filename = Path.GetFileName(path),
                        SizeBytes = (ulong)file.Length,
                    },
                };
                var piece = new byte[UploadPieceBytes];
                while (true)
                {
                    var count = file.Read(piece, 0, piece.Length);
                    request.Data = ByteString.CopyFrom(piece, 0, count);
                    request.Last = file.Position == file.Length;
                    var response = inference.UploadChunk(request, OneCall());
                    if (request.Last)
                    {
                        return response.UploadId;
                    }
                    request = new UploadChunkRequest
                    {
                        UploadId = response.UploadId,
                        OffsetBytes = response.SizeBytes,
                    };
                }
            }
        }

        /// <summary>Closes the connection.</summary>
        public void Dispose()
        {
            channel.Dispose();
        }

        private CallOptions OneCall()
        {
            return new CallOptions(headers, DateTime.UtcNow.AddSeconds(TimeoutSeconds));
        }

        private CallOptions Headers(CancellationToken stop)
        {
            return new CallOptions(headers, cancellationToken: stop);
        }
    }
}
