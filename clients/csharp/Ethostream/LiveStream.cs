using System;
using System.Threading;
using System.Threading.Tasks;
using Ethostream.V1;
using Grpc.Core;
using Task = System.Threading.Tasks.Task; // a bundle has a Task, too

namespace Ethostream
{
    /// <summary>
    /// One camera's frames in, answers out; made by Client.StreamAsync. One task sends while another
    /// reads. It does not connect again: when ReadAsync throws, open another one; frames without an
    /// outcome are lost.
    /// </summary>
    public sealed class LiveStream : IDisposable
    {
        private readonly AsyncDuplexStreamingCall<StreamFramesRequest, StreamFramesResponse> call;
        private readonly CancellationTokenSource isOver = new CancellationTokenSource();
        private readonly SemaphoreSlim credits;

        private LiveStream(
            AsyncDuplexStreamingCall<StreamFramesRequest, StreamFramesResponse> call,
            StreamStarted started)
        {
            this.call = call;
            Started = started;
            credits = new SemaphoreSlim((int)started.Credits);
        }

        /// <summary>The session, its bundles, and how many frames may be in flight.</summary>
        public StreamStarted Started { get; }

        internal static async Task<LiveStream> OpenAsync(
            AsyncDuplexStreamingCall<StreamFramesRequest, StreamFramesResponse> call, StreamStart start)
        {
            await call.RequestStream.WriteAsync(new StreamFramesRequest { Start = start });
            await call.ResponseStream.MoveNext(CancellationToken.None); // throws what the server says
            return new LiveStream(call, call.ResponseStream.Current.Started);
        }

        /// <summary>
        /// Sends a frame; waits while as many as the server gave credits have no outcome. Throws
        /// OperationCanceledException once ReadAsync met the end of the stream.
        /// </summary>
        public async Task SendAsync(Frame frame)
        {
            await credits.WaitAsync(isOver.Token);
            await call.RequestStream.WriteAsync(new StreamFramesRequest { Frame = frame });
        }

        /// <summary>Says that no more frames come; what is owed still arrives.</summary>
        public Task FinishAsync()
        {
            return call.RequestStream.CompleteAsync();
        }

        /// <summary>
        /// The next outcome, behavior result, drain notice or, at last, `Ended`; null after it.
        /// </summary>
        public async Task<StreamFramesResponse> ReadAsync()
        {
            var isThere = false;
            try
            {
                isThere = await call.ResponseStream.MoveNext(CancellationToken.None);
            }
            finally
            {
                if (!isThere)
                {
                    isOver.Cancel();
                }
            }
            if (!isThere)
            {
                return null;
            }
            var response = call.ResponseStream.Current;
            if (response.ResponseCase == StreamFramesResponse.ResponseOneofCase.Outcome)
            {
                credits.Release();
            }
            return response;
        }

        /// <summary>Ends the stream at once.</summary>
        public void Dispose()
        {
            call.Dispose();
            isOver.Cancel();
        }
    }
}
