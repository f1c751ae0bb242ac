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
        private const int ChecksPerLimit = 20;

        private readonly AsyncDuplexStreamingCall<StreamFramesRequest, StreamFramesResponse> call;
        private readonly CancellationTokenSource isOver = new CancellationTokenSource();
        private readonly double limitSeconds;
        private readonly Timer watch;
        private SemaphoreSlim credits;
        private int owed = 1; // frames without an outcome, and the server's agreement or its end
        private int silentChecks; // not by the clock: while this process stood still it could hear nothing

        private LiveStream(
            AsyncDuplexStreamingCall<StreamFramesRequest, StreamFramesResponse> call, double limitSeconds)
        {
            this.call = call;
            this.limitSeconds = limitSeconds;
            var period = TimeSpan.FromSeconds(limitSeconds / ChecksPerLimit);
            watch = new Timer(state => Check(), null, period, period);
        }

        /// <summary>The session, its bundles, and how many frames may be in flight.</summary>
        public StreamStarted Started { get; private set; }

        internal static async Task<LiveStream> OpenAsync(
            AsyncDuplexStreamingCall<StreamFramesRequest, StreamFramesResponse> call,
            StreamStart start,
            double limitSeconds)
        {
            var stream = new LiveStream(call, limitSeconds);
            try
            {
                await call.RequestStream.WriteAsync(new StreamFramesRequest { Start = start });
                stream.Started = (await stream.ReadAsync()).Started; // throws what the server says
                stream.credits = new SemaphoreSlim((int)stream.Started.Credits);
                Interlocked.Decrement(ref stream.owed);
                return stream;
            }
            catch
            {
                stream.Dispose();
                throw;
            }
        }

        /// <summary>
        /// Sends a frame; waits while as many as the server gave credits have no outcome. Throws
        /// OperationCanceledException once ReadAsync met the end of the stream, or RpcException when it
        /// breaks just now.
        /// </summary>
        public async Task SendAsync(Frame frame)
        {
            await credits.WaitAsync(isOver.Token);
            Interlocked.Increment(ref owed);
            await call.RequestStream.WriteAsync(new StreamFramesRequest { Frame = frame });
        }

        /// <summary>Says that no more frames come; what is owed still arrives.</summary>
        public Task FinishAsync()
        {
            Interlocked.Increment(ref owed);
            return call.RequestStream.CompleteAsync();
        }

        /// <summary>
        /// The next outcome, behavior result, drain notice or, at last, `Ended`; null after it. Throws
        /// RpcException when the stream breaks; with DeadlineExceeded when the server owes an answer and
        /// is silent for the client's TimeoutSeconds.
        /// </summary>
        public async Task<StreamFramesResponse> ReadAsync()
        {
            var isThere = false;
            try
            {
                isThere = await call.ResponseStream.MoveNext(CancellationToken.None);
            }
            catch (RpcException) when (Volatile.Read(ref silentChecks) >= ChecksPerLimit)
            {
                var words = "the server answered nothing for " + limitSeconds + " s";
                throw new RpcException(new Status(StatusCode.DeadlineExceeded, words));
            }
            finally
            {
                if (!isThere)
                {
                    watch.Dispose();
                    isOver.Cancel();
                }
            }
            if (!isThere)
            {
                return null;
            }
            Volatile.Write(ref silentChecks, 0);
            var response = call.ResponseStream.Current;
            if (response.ResponseCase == StreamFramesResponse.ResponseOneofCase.Outcome)
            {
                Interlocked.Decrement(ref owed);
                credits.Release();
            }
            return response;
        }

        /// <summary>Ends the stream at once.</summary>
        public void Dispose()
        {
            watch.Dispose();
            call.Dispose();
            isOver.Cancel();
        }

        private void Check()
        {
            if (Volatile.Read(ref owed) == 0)
            {
                Volatile.Write(ref silentChecks, 0); // the time counts from what is owed next
            }
            else if (Interlocked.Increment(ref silentChecks) == ChecksPerLimit)
            {
                call.Dispose(); // ReadAsync throws
            }
        }
    }
}
