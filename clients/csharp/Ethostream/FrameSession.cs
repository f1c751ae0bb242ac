using System;
using System.Collections.Generic;
using Ethostream.V1;
using Google.Protobuf;

namespace Ethostream
{
    /// <summary>
    /// Frames in, one call each; made by Client.Session. For one thread. A session without a call for
    /// 60 s ends by itself, and later calls are refused with NOT_FOUND: Restart, then send again.
    /// </summary>
    public sealed class FrameSession : IDisposable
    {
        private readonly Func<AnalyzeFrameRequest, AnalyzeFrameResponse> call;
        private readonly StreamStart start;
        private string sessionId = "";
        private ulong nextIndex;

        internal FrameSession(Func<AnalyzeFrameRequest, AnalyzeFrameResponse> call, StreamStart start)
        {
            this.call = call;
            this.start = start;
        }

        /// <summary>The session and its bundles; there after the first answer.</summary>
        public StreamStarted Started { get; private set; }

        /// <summary>
        /// Sends pixels and waits for their answers: the frame's outcome, and behavior results that are
        /// ready by now, for this frame or for earlier ones.
        /// </summary>
        /// <param name="pixels">Rows from top to bottom without padding; may be reused afterwards.</param>
        /// <param name="widthPx">Width of the frame.</param>
        /// <param name="heightPx">Height of the frame.</param>
        /// <param name="encoding">Gray8, Rgb24 or Bgr24.</param>
        /// <param name="captureTimeNs">Time of capture on the camera's clock; echoed.</param>
        public AnalyzeFrameResponse Analyze(
            byte[] pixels,
            int widthPx,
            int heightPx,
            FrameEncoding encoding = FrameEncoding.Gray8,
            long captureTimeNs = 0)
        {
            return Analyze(new Frame
            {
                FrameIndex = nextIndex,
                CaptureTimeNs = captureTimeNs,
                Encoding = encoding,
                WidthPx = (uint)widthPx,
                HeightPx = (uint)heightPx,
                Data = ByteString.CopyFrom(pixels),
            });
        }

        /// <summary>Sends a frame, such as a JPEG file, and waits for its answers.</summary>
        public AnalyzeFrameResponse Analyze(Frame frame)
        {
            nextIndex = frame.FrameIndex + 1;
            return Ask(new AnalyzeFrameRequest { Frame = frame });
        }

        /// <summary>Ends the session and returns the behavior results that were still owed.</summary>
        public IList<BehaviorResult> End()
        {
            if (sessionId.Length == 0)
            {
                return new BehaviorResult[0];
            }
            var response = Ask(new AnalyzeFrameRequest { EndSession = true });
            sessionId = "";
            return response.Behaviors;
        }

        /// <summary>
        /// Lets the next call open a new session, in place of one that the server closed. Behavior
        /// results that were still owed are lost; frames go on with the numbers that they have.
        /// </summary>
        public void Restart()
        {
            sessionId = "";
        }

        /// <summary>Ends the session.</summary>
        public void Dispose()
        {
            try
            {
                End();
            }
            catch (Grpc.Core.RpcException)
            {
                // it ended by itself, or the server is gone
            }
        }

        private AnalyzeFrameResponse Ask(AnalyzeFrameRequest request)
        {
            if (sessionId.Length == 0)
            {
                request.Start = start;
            }
            else
            {
                request.SessionId = sessionId;
            }
            var response = call(request);
            Started = response.Started ?? Started;
            sessionId = response.SessionId;
            return response;
        }
    }
}
