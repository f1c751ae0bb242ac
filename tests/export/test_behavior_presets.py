"""Every preset is trained, exported and served, and live answers are those of the evaluation."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from export.commands import export
from service.behavior import probabilities
from service.behavior_stream import BehaviorStream
from service.bundle import Bundle, read_bundle
from service.engine import create_engine
from service.repository import LoadedBundle
from service.scheduler import Graph, Scheduler, SchedulerConfig, Work
from service.simulation import SimulationSettings, simulate, write_recording
from service.values import BehaviorStatus
from tests.export.test_behavior import run_command
from training.behavior import command
from training.behavior.evaluate import predict
from training.data.behavior_frames import load_footage
from training.data.behavior_labels import read_behavior_project

pytestmark = pytest.mark.needs_train

TINY = (
    "--size 64x64 --validation mouse1 --test mouse2 --threads 1 --flow-epochs 1 --flow-samples 16 "
    "--features-epochs 1 --features-samples 16 --sequence-epochs 1 --feature-copies 1 "
    "--precision 32-true"
)
PRESETS = [
    pytest.param("realtime", "causal", 0, id="realtime"),
    pytest.param("deg_f", "tgm", 26, id="deg_f"),
    pytest.param("deg_f", "none", 5, id="deg_f without sequence", marks=pytest.mark.full),
    pytest.param("deg_m", "tgm", 26, id="deg_m", marks=pytest.mark.full),
    pytest.param("deg_s", "tgm", 26, id="deg_s", marks=pytest.mark.full),
]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for seed, frames in enumerate((24, 24, 30)):
        settings = SimulationSettings(
            width_px=96, height_px=72, duration_s=frames / 10, frame_rate_hz=10, seed=seed
        )
        write_recording(simulate(settings), folder, name=f"mouse{seed}", codec="mjpeg")
    return folder


async def stream(bundle: Bundle, frames: np.ndarray) -> list:
    """Answers of the service for consecutive frames, on ONNX Runtime in fp32."""
    graphs = {
        name: Graph(
            name,
            create_engine(
                bundle.graph_path(name), engine="onnxruntime", precision="fp32", threads=1
            ),
        )
        for name in bundle.manifest.graph_names
    }
    scheduler = Scheduler(SchedulerConfig())
    scheduler.start()
    loaded = LoadedBundle(bundle, graphs, "onnxruntime:cpu", "fp32", "")
    served = BehaviorStream(loaded, scheduler, work=Work.LIVE)
    futures = [served.push(index, pixels) for index, pixels in enumerate(frames)]
    served.finish()
    answers = await asyncio.gather(*futures)
    await scheduler.stop()
    return answers


@pytest.mark.parametrize(("preset", "sequence", "look_ahead"), PRESETS)
def test_a_preset_serves_live_what_its_evaluation_measured(
    recordings: Path, tmp_path: Path, preset: str, sequence: str, look_ahead: int
) -> None:
    run = tmp_path / "tiny"
    run_command(
        command, recordings, "--out", run, "--preset", preset, "--sequence", sequence, *TINY.split()
    )
    about = tmp_path / "about.md"
    about.write_text("Watches a small mouse.")
    arguments = ("--out", tmp_path / "models", "--name", "tiny", "--about", about)
    assert run_command(export, run, *arguments, "--license", "Apache-2.0", "--no-int8") == 0

    bundle = read_bundle(tmp_path / "models" / "tiny" / "1")
    spec = bundle.manifest.behavior
    assert spec is not None
    assert spec.future_frames == look_ahead
    assert preset in bundle.document("card")
    project = read_behavior_project([recordings], exclusive=False, behaviors=spec.behaviors)
    graphs = {
        name: create_engine(
            bundle.graph_path(name), engine="onnxruntime", precision="fp32", threads=1
        )
        for name in bundle.manifest.graph_names
    }
    footage = load_footage(project.choose(("mouse2",)), bundle.manifest.input)[0]
    for frames in (footage.frames, footage.frames[:3]):  # the second is shorter than a window
        clips = ((0, len(frames)),)
        short = type(footage)("short", frames, footage.labels[: len(frames)], clips)
        wanted = probabilities(predict(graphs, short, spec).logits, exclusive=False)
        answers = asyncio.run(stream(bundle, frames))
        assert len(answers) == len(frames)
        for index, answer in enumerate(answers):
            if index < spec.context_frames:
                assert answer.status is BehaviorStatus.NO_CONTEXT
            else:
                assert answer.status is BehaviorStatus.OK
                np.testing.assert_allclose(answer.probabilities, wanted[index], atol=1e-4)
