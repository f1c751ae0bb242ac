// Streams made frames and prints the answers as clients/testdata/stream_frames.py does:
//   StreamMade ADDRESS TIMEOUT_S FRAMES BUNDLE...
// Each answer stands there when it comes; a broken stream ends with what both tasks were told.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Threading.Tasks;
using Ethostream;
using Ethostream.V1;
using Google.Protobuf;
using Grpc.Core;
using Task = System.Threading.Tasks.Task;

public static class StreamMade
{
    private const int WidthPx = 64, HeightPx = 48;

    public static async Task<int> Main(string[] arguments)
    {
        var timeoutSeconds = double.Parse(arguments[1], CultureInfo.InvariantCulture);
        using (var client = new Client("http://" + arguments[0], timeoutSeconds: timeoutSeconds))
        using (var stream = await client.StreamAsync(Client.Start(arguments.Skip(3).ToArray())))
        {
            var sending = SendAsync(stream, ulong.Parse(arguments[2]));
            var reading = ReadAsync(stream);
            try
            {
                await Task.WhenAll(sending, reading);
                return 0;
            }
            catch (Exception)
            {
                foreach (var one in new[] { sending, reading })
                {
                    var status = (one.Exception?.GetBaseException() as RpcException)?.Status;
                    Console.WriteLine(
                        status == null ? one.Status.ToString() : status?.StatusCode + ": " + status?.Detail);
                }
                return 1;
            }
        }
    }

    private static async Task SendAsync(LiveStream stream, ulong frames)
    {
        for (var number = 0UL; number < frames; number++)
        {
            var pixels = new byte[WidthPx * HeightPx];
            for (var place = 0; place < pixels.Length; place++)
            {
                pixels[place] = (byte)((3 * (place % WidthPx) + 5 * (place / WidthPx) + 7 * (int)number) % 251);
            }
            await stream.SendAsync(new Frame
            {
                FrameIndex = number,
                CaptureTimeNs = (long)number,
                Encoding = FrameEncoding.Gray8,
                WidthPx = WidthPx,
                HeightPx = HeightPx,
                Data = ByteString.CopyFrom(pixels),
            });
        }
        await stream.FinishAsync();
    }

    private static async Task ReadAsync(LiveStream stream)
    {
        for (var answer = await stream.ReadAsync(); answer != null; answer = await stream.ReadAsync())
        {
            if (answer.ResponseCase == StreamFramesResponse.ResponseOneofCase.Outcome)
            {
                Console.WriteLine(Line(answer.Outcome));
            }
            else if (answer.ResponseCase == StreamFramesResponse.ResponseOneofCase.Behavior)
            {
                Console.WriteLine(Line(answer.Behavior));
            }
        }
    }

    private static string Line(FrameOutcome outcome)
    {
        var poses = (outcome.Result?.Poses.ToArray() ?? new PoseResult[0]).Select(one =>
            "{\"x_px\": " + List(one.Poses.Select(pose => List(pose.XPx.Select(Number)))) +
            ", \"y_px\": " + List(one.Poses.Select(pose => List(pose.YPx.Select(Number)))) +
            ", \"confidence\": " + List(one.Poses.Select(pose => List(pose.Confidence.Select(Number)))) + "}");
        var kind = outcome.OutcomeCase.ToString().ToLowerInvariant();
        return "{\"frame\": " + outcome.FrameIndex + ", \"kind\": \"" + kind + "\", \"poses\": " + List(poses) + "}";
    }

    private static string Line(BehaviorResult result)
    {
        var line = "{\"frame\": " + result.FrameIndex + ", \"bundle\": \"" + result.Bundle.Name +
            "\", \"status\": " + (int)result.Status;
        if (result.Probabilities.Count > 0)
        {
            line += ", \"probabilities\": " + List(result.Probabilities.Select(Number)) +
                ", \"present\": " + List(result.Present.Select(one => one ? "true" : "false"));
        }
        return line + "}";
    }

    private static string Number(float value) => ((double)value).ToString("R", CultureInfo.InvariantCulture);

    private static string List(IEnumerable<string> values) => "[" + string.Join(", ", values) + "]";
}
