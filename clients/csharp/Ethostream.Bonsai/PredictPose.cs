using System;
using System.ComponentModel;
using System.Linq;
using System.Reactive.Linq;
using System.Runtime.InteropServices;
using Bonsai;
using Ethostream.V1;
using Google.Protobuf;
using Grpc.Core;
using OpenCV.Net;

namespace Ethostream.Bonsai
{
    /// <summary>The keypoints of one animal in one frame.</summary>
    public sealed class PoseFrame
    {
        internal PoseFrame(ulong frameIndex, Pose pose)
        {
            FrameIndex = frameIndex;
            Points = pose.XPx.Zip(pose.YPx, (x, y) => new Point2f(x, y)).ToArray();
            Confidence = pose.Confidence.ToArray();
        }

        /// <summary>Count of images since the workflow began.</summary>
        public ulong FrameIndex { get; }

        /// <summary>In the order of the bundle's keypoints, px of the image.</summary>
        public Point2f[] Points { get; }

        /// <summary>Of each point, in [0, 1].</summary>
        public float[] Confidence { get; }
    }

    /// <summary>A node that asks a server for the pose in each image, one after the other.</summary>
    [Description("Asks an ethostream server for the keypoints of the animal in each image.")]
    public class PredictPose : Transform<IplImage, PoseFrame>
    {
        [Description("Where the server is; .NET Framework reaches it over TLS only.")]
        public string Address { get; set; } = "https://localhost:50051";

        [Description("What the server asks for; empty for none.")]
        public string Token { get; set; } = "";

        [Description("A pose bundle that the server has loaded.")]
        public string Bundle { get; set; } = "openfield-mouse";

        public override IObservable<PoseFrame> Process(IObservable<IplImage> source)
        {
            return Observable.Using(
                () => new Client(Address, Token),
                client => Observable.Using(
                    () => client.Session(Client.Start(Bundle)),
                    session => source.Select((image, index) => Predict(session, image, index))));
        }

        private static PoseFrame Predict(FrameSession session, IplImage image, int index)
        {
            if (image.Depth != IplDepth.U8 || (image.Channels != 1 && image.Channels != 3))
            {
                throw new ArgumentException("An image has 8 bits a channel and 1 or 3 channels; convert it.");
            }
            var rowBytes = image.Width * image.Channels;
            var pixels = new byte[rowBytes * image.Height];
            for (var row = 0; row < image.Height; row++)
            {
                Marshal.Copy(image.ImageData + row * image.WidthStep, pixels, row * rowBytes, rowBytes);
            }
            var frame = new Frame
            {
                FrameIndex = (ulong)index,
                Encoding = image.Channels == 1 ? FrameEncoding.Gray8 : FrameEncoding.Bgr24,
                WidthPx = (uint)image.Width,
                HeightPx = (uint)image.Height,
                Data = ByteString.CopyFrom(pixels),
            };
            var outcome = Analyze(session, frame).Outcome;
            if (outcome.OutcomeCase != FrameOutcome.OutcomeOneofCase.Result)
            {
                throw new InvalidOperationException(outcome.Error?.Message ?? "The frame was skipped.");
            }
            return new PoseFrame(outcome.FrameIndex, outcome.Result.Poses[0].Poses[0]);
        }

        private static AnalyzeFrameResponse Analyze(FrameSession session, Frame frame)
        {
            try
            {
                return session.Analyze(frame);
            }
            catch (RpcException refusal) when (refusal.StatusCode == StatusCode.NotFound)
            {
                session.Restart(); // no image came for so long that the server closed the session
                return session.Analyze(frame);
            }
        }
    }
}
