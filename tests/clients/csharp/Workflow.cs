// Gives made images to the Bonsai node as a workflow would, with a pause before the last one:
//   Workflow ADDRESS BUNDLE IMAGES PAUSE_S
// Prints the index and the points of each answer.
using System;
using System.Globalization;
using System.Linq;
using System.Threading;
using Ethostream.Bonsai;
using OpenCV.Net;

public sealed class Workflow : IObservable<IplImage>, IObserver<PoseFrame>, IDisposable
{
    private const int WidthPx = 32, HeightPx = 24;
    private int images;
    private double pauseSeconds;

    public static int Main(string[] arguments)
    {
        var workflow = new Workflow
        {
            images = int.Parse(arguments[2]),
            pauseSeconds = double.Parse(arguments[3], CultureInfo.InvariantCulture),
        };
        var node = new PredictPose { Address = "http://" + arguments[0], Bundle = arguments[1] };
        using (node.Process(workflow).Subscribe(workflow))
        {
            return 0;
        }
    }

    public IDisposable Subscribe(IObserver<IplImage> observer)
    {
        for (var number = 0; number < images; number++)
        {
            if (number == images - 1)
            {
                Thread.Sleep(TimeSpan.FromSeconds(pauseSeconds));
            }
            var pixels = new byte[WidthPx * HeightPx];
            pixels[(2 + number) * WidthPx + 3] = 255;
            observer.OnNext(new IplImage(WidthPx, HeightPx, pixels));
        }
        observer.OnCompleted();
        return this;
    }

    public void OnNext(PoseFrame pose)
    {
        var points = pose.Points.Select(point => string.Format(CultureInfo.InvariantCulture, " ({0}, {1})", point.X, point.Y));
        Console.WriteLine(pose.FrameIndex + ":" + string.Concat(points));
    }

    public void OnError(Exception error) { throw error; }
    public void OnCompleted() { Console.WriteLine("end"); }
    public void Dispose() { }
}
