"""The MATLAB functions in GNU Octave write what a real server takes, and read what it says."""

import json
import shutil
import subprocess
from pathlib import Path

import ethostream
import grpc
import numpy as np
import pytest
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.v1.inference_service_pb2_grpc import InferenceServiceStub
from google.protobuf import json_format

from clients.testdata.record import BEHAVIOR, MODELS, POSE
from clients.testdata.stream_frames import made_frame
from tests.e2e.conftest import start_server  # noqa: F401

MATLAB = Path(__file__).resolve().parents[2] / "clients" / "matlab"
FUNCTIONS = sorted(MATLAB.rglob("*.m"))

WRITE = """
[x, y] = meshgrid(0:63, 0:47);
start = ethostream.sessionStart({'vector-points', 'vector-motion'}, 30);
for n = 0:4
    gray = uint8(mod(3 * x + 5 * y + 7 * n, 251));
    session = 'SESSION';
    if n == 0
        session = start;
    end
    image = gray;
    if n == 3
        image = cat(3, gray, 250 - gray, gray);
    end
    disp(ethostream.frameRequest(session, n, image, int64(1700000000123456789) + int64(n)));
end
disp(ethostream.frameRequest('SESSION', 5, [], int64(0)));
"""
READ = """
lines = strsplit(strtrim(fileread('answers.jsonl')), "\\n");
for line = lines
    answer = ethostream.readAnswer(line{1});
    answer.behaviors = num2cell(answer.behaviors);
    disp(jsonencode(answer));
end
"""


@pytest.fixture(scope="module", autouse=True)
def _octave() -> None:
    if shutil.which("octave-cli") is None:
        pytest.skip("GNU Octave is not installed; install octave")


def octave(program: str, folder: Path) -> list[str]:
    """The lines that a program prints; it must succeed."""
    done = subprocess.run(
        ["octave-cli", "--norc", "--path", str(MATLAB), "--eval", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def as_json(answer: pb.AnalyzeFrameResponse) -> str:
    """In the form in which National Instruments' library hands answers to MATLAB."""
    return json_format.MessageToJson(
        answer,
        indent=None,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def test_octave_reads_every_file(tmp_path):
    assert len(FUNCTIONS) == 6
    for path in FUNCTIONS:
        octave(f"__parse_file__('{path}');", tmp_path)


def test_a_session_in_json_gives_the_answers_of_the_python_client(start_server, tmp_path):  # noqa: F811
    server = start_server("--engine", "onnxruntime", "--precision", "fp32", models=MODELS)
    requests = [
        json_format.Parse(line, pb.AnalyzeFrameRequest()) for line in octave(WRITE, tmp_path)
    ]
    assert [one.frame.frame_index for one in requests[:5]] == list(range(5))
    assert requests[4].frame.capture_time_ns == 1700000000123456789 + 4
    with grpc.insecure_channel(server.address) as channel:
        stub = InferenceServiceStub(channel)
        answers = []
        for request in requests:
            if request.session_id:
                request.session_id = answers[0].session_id
            answers.append(stub.AnalyzeFrame(request, timeout=60))
    lines = [as_json(one) for one in answers]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    found = [json.loads(line) for line in octave(READ, tmp_path)]

    gray = [made_frame(number, 64, 48) for number in range(5)]
    images = list(gray)
    images[3] = np.dstack([gray[3], 250 - gray[3], gray[3]])
    with (
        ethostream.Client(server.address) as client,
        client.session([POSE, BEHAVIOR], frame_rate_hz=30) as session,
    ):
        wanted = [session.analyze(image) for image in images]
        behaviors = [result for one in wanted for result in one.behaviors] + list(session.end())
    assert [one["kind"] for one in found] == ["result"] * 5 + [""]
    for one, other in zip(found, wanted, strict=False):
        pose = other.outcome.poses[0]
        np.testing.assert_array_equal(one["keypointsXy"][0], pose.keypoints_xy)
        np.testing.assert_array_equal(one["confidence"][0], pose.confidence)
    read = [result for one in found for result in one["behaviors"]]
    assert [one["frameIndex"] for one in read] == [one.frame_index for one in behaviors]
    assert [one["status"] for one in read] == [
        f"BEHAVIOR_STATUS_{one.status.name}" for one in behaviors
    ]
    for one, other in zip(read, behaviors, strict=True):
        if other.probabilities is not None:
            np.testing.assert_allclose(one["probabilities"], other.probabilities, rtol=1e-5)
            np.testing.assert_array_equal(one["present"], other.present)


def test_errors_and_skips_are_told(tmp_path):
    outcomes = [
        pb.FrameOutcome(error=pb.FrameError(code=3, message="frame 2 is damaged; send another")),
        pb.FrameOutcome(skipped=pb.FrameSkipped(reason=1)),
    ]
    lines = [as_json(pb.AnalyzeFrameResponse(session_id="a", outcome=one)) for one in outcomes]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    error, skipped = (json.loads(line) for line in octave(READ, tmp_path))
    assert (error["kind"], error["reason"]) == ("error", "FRAME_ERROR_CODE_DECODE_FAILED")
    assert error["message"] == "frame 2 is damaged; send another"
    assert (skipped["kind"], skipped["reason"]) == ("skipped", "SKIP_REASON_REPLACED")
    wrong = "try; ethostream.frameRequest('a', 0, 1.5, 0); catch e; disp(e.message); end"
    assert octave(wrong, tmp_path) == ["an image is uint8, H x W or H x W x 3; convert it"]
