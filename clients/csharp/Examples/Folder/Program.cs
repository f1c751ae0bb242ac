// Asks about one JPEG or PNG file after the other, a call each, and prints keypoints:
//   Folder FOLDER [ADDRESS] [BUNDLE]
using System;
using System.IO;
using System.Linq;
using Ethostream;
using Ethostream.V1;
using Google.Protobuf;

public static class Program
{
    public static void Main(string[] args)
    {
        var address = args.Length > 1 ? args[1] : "http://127.0.0.1:50051";
        var bundle = args.Length > 2 ? args[2] : "openfield-mouse";
        var files = Directory.GetFiles(args[0]).OrderBy(name => name, StringComparer.Ordinal).ToArray();
        using (var client = new Client(address))
        using (var session = client.Session(Client.Start(bundle)))
        {
            for (var number = 0; number < files.Length; number++)
            {
                var isPng = files[number].EndsWith(".png", StringComparison.OrdinalIgnoreCase);
                var frame = new Frame
                {
                    FrameIndex = (ulong)number,
                    Encoding = isPng ? FrameEncoding.Png : FrameEncoding.Jpeg,
                    Data = ByteString.CopyFrom(File.ReadAllBytes(files[number])),
                };
                var outcome = session.Analyze(frame).Outcome;
                if (outcome.OutcomeCase != FrameOutcome.OutcomeOneofCase.Result)
                {
                    Console.WriteLine(outcome.Error?.Message ?? "frame " + number + ": skipped");
                    continue;
                }
                var pose = outcome.Result.Poses[0].Poses[0];
                var points = pose.XPx.Zip(pose.YPx, (x, y) => "(" + x + ", " + y + ")");
                Console.WriteLine("frame " + number + ": " + string.Join(" ", points));
            }
        }
    }
}
