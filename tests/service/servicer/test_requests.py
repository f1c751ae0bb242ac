"""What requests of several services say alike is checked alike, whichever call it comes with."""

from collections.abc import Iterator

import grpc
import pytest
from ethostream.v1 import bundle_pb2, job_service_pb2, job_service_pb2_grpc
from ethostream.v1 import inference_service_pb2 as pb2

from service.config import JobsConfig, VideoConfig
from tests.service.servicer.conftest import EXACT, TIMEOUT_S, VECTORS, Served, serving
from tests.service.servicer.wire import POSE, refused

REFERENCE = bundle_pb2.BundleReference(name=POSE)
SELECTION = bundle_pb2.BundleSelection(bundle=REFERENCE)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that takes jobs, and has an empty file for a video."""
    root = tmp_path_factory.mktemp("root")
    (root / "a.mp4").touch()
    jobs = JobsConfig(directory=str(tmp_path_factory.mktemp("jobs")))
    video = VideoConfig(roots=(str(root),))
    with serving(VECTORS, POSE, engine=EXACT, jobs=jobs, video=video) as one:
        yield one


def stream(served: Served, rate_hz: float) -> None:
    start = pb2.StreamStart(bundles=[SELECTION], frame_rate_hz=rate_hz)
    requests = [pb2.StreamFramesRequest(start=start)]
    list(served.native.StreamFrames(iter(requests), timeout=TIMEOUT_S))


def analyze_frame(served: Served, rate_hz: float) -> None:
    start = pb2.StreamStart(bundles=[SELECTION], frame_rate_hz=rate_hz)
    request = pb2.AnalyzeFrameRequest(start=start, end_session=True)
    served.native.AnalyzeFrame(request, timeout=TIMEOUT_S)


def analyze_video(served: Served, rate_hz: float) -> None:
    request = pb2.AnalyzeVideoRequest(path="a.mp4", bundles=[SELECTION], frame_rate_hz=rate_hz)
    list(served.native.AnalyzeVideo(request, timeout=TIMEOUT_S))


def submit_job(served: Served, rate_hz: float) -> None:
    spec = job_service_pb2.JobSpec(paths=["a.mp4"], bundles=[REFERENCE], frame_rate_hz=rate_hz)
    stub = job_service_pb2_grpc.JobServiceStub(served.channel)
    stub.SubmitJob(job_service_pb2.SubmitJobRequest(spec=spec), timeout=TIMEOUT_S)


@pytest.mark.parametrize("call", [stream, analyze_frame, analyze_video, submit_job])
@pytest.mark.parametrize("rate_hz", [-1.0, float("nan"), float("inf"), 1e300])
def test_a_frame_rate_that_no_camera_has_is_refused(served: Served, call, rate_hz):
    words = (f"frame_rate_hz is {rate_hz:g}", "0 or a rate of at most 1000000")
    refused(lambda: call(served, rate_hz), grpc.StatusCode.INVALID_ARGUMENT, *words)


@pytest.mark.parametrize("call", [stream, analyze_frame, submit_job])
@pytest.mark.parametrize("rate_hz", [0.0, 1e6])
def test_a_frame_rate_within_the_limits_is_taken(served: Served, call, rate_hz):
    call(served, rate_hz)
