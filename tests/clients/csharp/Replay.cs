// Sends recorded requests with the client, prints the answers as gRPC frames them:
//   Replay ADDRESS KIND [FILE] < REQUESTS
// KIND is stream, session, models or video (of FILE, which it uploads). A refusal: its status and message.
using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Ethostream;
using Ethostream.V1;
using Google.Protobuf;
using Grpc.Core;
using Task = System.Threading.Tasks.Task;

public static class Replay
{
    public static async Task<int> Main(string[] arguments)
    {
        var output = Console.OpenStandardOutput();
        try
        {
            using (var client = new Client("http://" + arguments[0]))
            {
                await foreach (var message in Answers(client, arguments))
                {
                    Write(output, message);
                }
            }
            return 0;
        }
        catch (RpcException error)
        {
            Console.Error.WriteLine(error.StatusCode + "\n" + error.Status.Detail);
            return 1;
        }
    }

    private static IAsyncEnumerable<IMessage> Answers(Client client, string[] arguments)
    {
        switch (arguments[1])
        {
            case "stream":
                return Stream(client, Read(StreamFramesRequest.Parser));
            case "session":
                return Session(client, Read(AnalyzeFrameRequest.Parser));
            case "models":
                return Models(client);
            default:
                return Video(client, Read(AnalyzeVideoRequest.Parser).Single(), arguments[2]);
        }
    }

    private static async IAsyncEnumerable<IMessage> Stream(Client client, List<StreamFramesRequest> requests)
    {
        using (var stream = await client.StreamAsync(requests[0].Start))
        {
            yield return new StreamFramesResponse { Started = stream.Started };
            var sending = Task.Run(async () =>
            {
                foreach (var request in requests.Skip(1))
                {
                    await stream.SendAsync(request.Frame);
                }
                await stream.FinishAsync();
            });
            for (var answer = await stream.ReadAsync(); answer != null; answer = await stream.ReadAsync())
            {
                yield return answer;
            }
            await sending;
        }
    }

    private static async IAsyncEnumerable<IMessage> Session(Client client, List<AnalyzeFrameRequest> requests)
    {
        await Task.CompletedTask;
        using (var session = client.Session(requests[0].Start))
        {
            foreach (var request in requests.Where(one => one.Frame != null))
            {
                yield return session.Analyze(request.Frame);
            }
            var rest = new AnalyzeFrameResponse();
            rest.Behaviors.AddRange(session.End());
            yield return rest;
        }
    }

    private static async IAsyncEnumerable<IMessage> Models(Client client)
    {
        await Task.CompletedTask;
        yield return client.Models();
    }

    private static async IAsyncEnumerable<IMessage> Video(
        Client client, AnalyzeVideoRequest request, string path)
    {
        if (path.Length > 0)
        {
            request.UploadId = client.Upload(path);
        }
        using (var call = client.AnalyzeVideo(request))
        {
            while (await call.ResponseStream.MoveNext(CancellationToken.None))
            {
                yield return call.ResponseStream.Current;
            }
        }
    }

    private static List<T> Read<T>(MessageParser<T> parser) where T : IMessage<T>
    {
        var data = new MemoryStream();
        Console.OpenStandardInput().CopyTo(data);
        var found = new List<T>();
        for (var rest = data.ToArray().AsMemory(); rest.Length > 0;)
        {
            var length = (int)BinaryPrimitives.ReadUInt32BigEndian(rest.Span.Slice(1));
            found.Add(parser.ParseFrom(rest.Slice(5, length).ToArray()));
            rest = rest.Slice(5 + length);
        }
        return found;
    }

    private static void Write(Stream output, IMessage message)
    {
        var data = message.ToByteArray();
        var header = new byte[5];
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(1), (uint)data.Length);
        output.Write(header, 0, header.Length);
        output.Write(data, 0, data.Length);
    }
}
