// Streams made frames, as a camera would give them, and prints what became of them:
//   Live [ADDRESS] [BUNDLE]
using System;
using System.Threading.Tasks;
using Ethostream;
using Ethostream.V1;
using Google.Protobuf;
using Task = System.Threading.Tasks.Task; // a bundle has a Task, too

public static class Program
{
    private const int WidthPx = 640, HeightPx = 480, Frames = 100;

    public static void Main(string[] args)
    {
        StreamAsync(args).GetAwaiter().GetResult();
    }

    private static async Task StreamAsync(string[] args)
    {
        var address = args.Length > 0 ? args[0] : "http://127.0.0.1:50051";
        var bundle = args.Length > 1 ? args[1] : "openfield-mouse";
        using (var client = new Client(address))
        using (var stream = await client.StreamAsync(Client.Start(bundle)))
        {
            var reading = ReadAsync(stream);
            for (var number = 0; number < Frames; number++)
            {
                await stream.SendAsync(new Frame
                {
                    FrameIndex = (ulong)number,
                    Encoding = FrameEncoding.Gray8,
                    WidthPx = WidthPx,
                    HeightPx = HeightPx,
                    Data = ByteString.CopyFrom(new byte[WidthPx * HeightPx]),
                });
            }
            await stream.FinishAsync();
            await reading;
        }
    }

    private static async Task ReadAsync(LiveStream stream)
    {
        for (var answer = await stream.ReadAsync(); answer != null; answer = await stream.ReadAsync())
        {
            if (answer.ResponseCase == StreamFramesResponse.ResponseOneofCase.Outcome)
            {
                Console.WriteLine("frame " + answer.Outcome.FrameIndex + ": " + answer.Outcome.OutcomeCase);
            }
        }
    }
}
