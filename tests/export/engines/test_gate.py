"""An engine of a bundle that exists is judged on held-out frames, and what is found is entered."""

import json
import shutil
from pathlib import Path

import cv2
import pytest

from service.bundle import file_sha256, read_bundle
from service.engine import choose_engine
from service.errors import EngineUnavailable
from service.simulation import SimulationSettings, simulate, write_recording

pytestmark = pytest.mark.needs_train
pytest.importorskip("torch", reason="uv sync --extra cpu --extra train")

from export.engines.gate import gate_engine  # noqa: E402
from export.parity import Verdict  # noqa: E402
from training.data.projects import read_projects  # noqa: E402

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "models"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Six labelled frames of a simulated mouse."""
    folder = tmp_path_factory.mktemp("simulated") / "project"
    settings = SimulationSettings(width_px=384, height_px=288, duration_s=0.6, frame_rate_hz=10)
    recording = simulate(settings)
    files = write_recording(recording, folder, codec="mjpeg")
    for index, pixels in enumerate(recording.frames()):
        path = files.pose_csv.parent / f"img{index:04d}.png"
        cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture
def directory(project, tmp_path) -> Path:
    """The shipped pose bundle, held out from the simulated frames, with nothing measured."""
    return unmeasured(tmp_path, test=list(read_projects([project]).frames))


def unmeasured(tmp_path: Path, **parts: list[str]) -> Path:
    folder = Path(shutil.copytree(SHIPPED / "openfield-mouse" / "1", tmp_path / "1"))
    split = json.loads((folder / "split.json").read_text())
    split |= {"training": [], "validation": [], "test": [], **parts}
    (folder / "split.json").write_text(json.dumps(split))
    parity = json.loads((folder / "PARITY.json").read_text()) | {"rows": []}
    (folder / "PARITY.json").write_text(json.dumps(parity))
    content = json.loads((folder / "bundle.json").read_text())
    content["precisions"] = {"onnxruntime": ["fp32"]}
    for name, file in (("split", "split.json"), ("parity", "PARITY.json")):
        content["documents"][name]["sha256"] = file_sha256(folder / file)
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


def test_an_imported_bundle_is_judged_on_all_frames(project, tmp_path):
    row = gate_engine(unmeasured(tmp_path), [project], engine="openvino", precision="fp32")
    assert row.passed
    assert row.figures["confident_points"] > 12


@pytest.mark.parametrize("part", ["validation", "training"])
def test_where_no_frame_is_held_out_the_least_known_ones_are_judged(project, tmp_path, part):
    known = unmeasured(tmp_path, **{part: list(read_projects([project]).frames)})
    row = gate_engine(known, [project], engine="openvino", precision="fp32")
    assert row.passed
    assert row.figures["confident_points"] > 12


def test_an_engine_that_agrees_is_served_from_now_on(directory, project):
    row = gate_engine(directory, [project], engine="openvino", precision="fp32")
    assert row.passed
    assert row.figures["confident_points"] > 12
    assert row.figures["mean_distance_px"] < 0.01
    bundle = read_bundle(directory)
    assert bundle.manifest.precisions == {"onnxruntime": ("fp32",), "openvino": ("fp32",)}
    (entered,) = json.loads(bundle.document("parity"))["rows"]
    assert (entered["engine"], entered["precision"], entered["passed"]) == (
        "openvino",
        "fp32",
        True,
    )


def test_an_engine_that_disagrees_is_not_served_and_the_reason_is_kept(
    directory, project, monkeypatch
):
    verdict = Verdict(passed=False, figures={"mean_distance_px": 3.0}, worst_frame="frame 2")
    monkeypatch.setattr("export.pose.judge_pose", lambda *arguments, **names: verdict)
    gate_engine(directory, [project], engine="openvino", precision="fp32")
    bundle = read_bundle(directory)
    assert bundle.manifest.precisions["openvino"] == ()
    (entered,) = json.loads(bundle.document("parity"))["rows"]
    assert (entered["passed"], entered["worst_frame"]) == (False, "frame 2")
    with pytest.raises(EngineUnavailable, match="passed its parity gate on openvino in no precis"):
        choose_engine(bundle.manifest, "openvino", "auto")


def test_a_second_judgement_replaces_the_first(directory, project):
    for _ in range(2):
        gate_engine(directory, [project], engine="openvino", precision="fp32")
    assert len(json.loads(read_bundle(directory).document("parity"))["rows"]) == 1


def test_an_engine_that_does_not_run_here_changes_nothing(directory, project):
    before = (directory / "bundle.json").read_bytes()
    with pytest.raises(EngineUnavailable):
        gate_engine(directory, [project], engine="tensorrt-rtx", precision="fp16")
    assert (directory / "bundle.json").read_bytes() == before


@pytest.mark.real_data
@pytest.mark.full
def test_the_behavior_of_held_out_recordings_is_compared(tmp_path, shared_data):
    folder = Path(shutil.copytree(SHIPPED / "rat-home-cage" / "1", tmp_path / "1"))
    data = [shared_data / "rat-behavior"]
    row = gate_engine(folder, data, engine="openvino", precision="fp32")
    assert row.passed
    assert row.figures["equal_share"] > 0.999
    assert "fp32" in read_bundle(folder).manifest.precisions["openvino"]
