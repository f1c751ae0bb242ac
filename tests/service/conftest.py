"""Bundles on fake engines, whose answers can be worked out by hand."""

import sys
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pytest

from service.bundle import (
    BehaviorSpec,
    Bundle,
    FileEntry,
    InputSpec,
    Manifest,
    PoseSpec,
    Provenance,
)
from service.engine import Engine, FakeEngine, Tensors
from service.engine.base import DeviceTensors
from service.engine.cuda import Stream
from service.engine.device import DeviceCopies, Rows
from service.repository import LoadedBundle
from service.scheduler import Graph, Scheduler, SchedulerConfig
from tests.service.engine.emulated_driver import EmulatedDriver
from tests.service.engine.emulated_streams import LazyRuntime

HEIGHT_PX, WIDTH_PX = 32, 48


CENTERED = {
    "flow_frames": 4,
    "past_frames": 2,
    "future_frames": 3,
    "flow_input_frames": 5,
    "feature_input_frames": 5,
    "window_fill": (7,),
    "sequence": "window",
    "sequence_past_frames": 1,
    "sequence_future_frames": 1,
    "state_size": 0,
}
"""Features of two frames before and after, and a sequence of one before and after."""


class ArithmeticEngine:
    """One of the three behavior graphs as a formula.

    flow: every value is the difference of the frames' means. features: (mean of the frame, sum of
    the flows). sequence: state' = state / 2 + features; logits = state'.
    """

    engine = "fake:cpu"
    precision = "fp32"
    inputs = ()
    outputs = ()

    def __init__(self, graph: str) -> None:
        self._graph = graph
        self.rows = 0
        self.fail = False

    def run(self, inputs: Tensors) -> Tensors:
        from service.errors import EngineFailed

        if self.fail:
            raise EngineFailed(f"{self._graph} was told to fail")
        self.rows += len(next(iter(inputs.values())))
        if self._graph == "flow":
            means = inputs["frames"].mean(axis=(2, 3, 4), dtype=np.float64)
            steps = np.diff(means, axis=1).astype(np.float32)
            shape = (*steps.shape, 2, HEIGHT_PX // 2, WIDTH_PX // 2)
            return {"flows": np.broadcast_to(steps[..., None, None, None], shape).copy()}
        if self._graph == "features":
            frames = inputs["frames"]  # one a sample, or the whole window
            frame = frames.mean(axis=tuple(range(1, frames.ndim)), dtype=np.float64)
            flows = inputs["flows"][:, :, 0, 0, 0].sum(axis=1)
            features = np.stack([frame, flows], axis=1).astype(np.float32)
            return {"features": features, "logits": features}
        if "valid" in inputs:  # the sum of the window, which is all that there is
            kept = inputs["features"] * inputs["valid"][..., None]
            return {"logits": np.repeat(kept.sum(axis=1, keepdims=True), kept.shape[1], axis=1)}
        state = inputs["state"]
        logits = []
        for step in range(inputs["features"].shape[1]):
            state = state / 2 + inputs["features"][:, step]
            logits.append(state)
        return {"logits": np.stack(logits, axis=1), "next_state": state}


class OnDevice:
    """An engine that looks at rows of the emulated GPU."""

    engine = "emulated:cuda"
    takes_device_rows = True

    def __init__(self, computes: Engine) -> None:
        self._computes = computes
        self._stream = Stream()
        self.precision = computes.precision
        self.inputs, self.outputs = computes.inputs, computes.outputs
        self.seen: set[type] = set()
        """Where `frames` were."""
        self.looked_at: list[np.ndarray] = []
        """Each row of `frames`."""
        self.flows_seen: set[type] = set()
        """Where `flows` were."""
        self._kept: frozenset[str] = frozenset()

    def keep_on_device(self, outputs: Collection[str]) -> None:
        self._kept = frozenset(outputs)

    def run(self, inputs: DeviceTensors) -> DeviceTensors:
        gathered = {name: self._gathered(one) for name, one in inputs.items()}
        if "frames" in inputs:
            self.seen.add(type(inputs["frames"]))
            self.looked_at.extend(gathered["frames"])
        if "flows" in inputs:
            self.flows_seen.add(type(inputs["flows"]))
        found = self._computes.run(gathered)
        return {name: self._keep(one) if name in self._kept else one for name, one in found.items()}

    def _keep(self, array: np.ndarray) -> Rows:
        (kept,) = DeviceCopies().copy([array])
        return Rows(kept.split())

    def _gathered(self, array: np.ndarray | Rows) -> np.ndarray:
        if not isinstance(array, Rows):
            return array
        buffer = np.zeros(array.shape, array.dtype)
        array.gather(buffer.ctypes.data, self._stream)
        self._stream.wait()
        return buffer


def manifest(task: str, **sections: object) -> Manifest:
    entry = FileEntry(path="none", sha256="", size_bytes=0)
    names = ("pose",) if task == "pose" else ("flow", "features", "sequence")
    return Manifest(
        name=f"fake-{task}",
        version=1,
        task=task,
        description="for tests",
        input=InputSpec(width_px=WIDTH_PX, height_px=HEIGHT_PX, color="gray", fit="stretch"),
        graphs=dict.fromkeys(names, entry),
        provenance=Provenance(
            run="test", code_commit="none", data="none", data_sha256="", license="Apache-2.0"
        ),
        **sections,
    )


def load(content: Manifest, engines: dict[str, Engine]) -> LoadedBundle:
    return LoadedBundle(
        bundle=Bundle(Path("nowhere"), content),
        graphs={name: Graph(f"{content.name}/{name}", one) for name, one in engines.items()},
        engine="fake:cpu",
        precision="fp32",
        manifest_sha256="0" * 64,
    )


@pytest.fixture
def pose_bundle() -> LoadedBundle:
    """Finds the brightest pixel as its only keypoint."""
    return load(manifest("pose", pose=PoseSpec(keypoints=("dot",))), {"pose": FakeEngine()})


@pytest.fixture
def behavior_bundle() -> Callable[..., LoadedBundle]:
    """Makes a multi-label bundle of two behaviors on the arithmetic graphs."""

    def make(**changes: object) -> LoadedBundle:
        settings = {
            "behaviors": ("bright", "moving"),
            "exclusive": False,
            "thresholds": (0.5, 0.5),
            "min_bout_frames": (1, 1),
            "frame_rate_hz": 30.0,
            "flow_frames": 2,
            "past_frames": 2,
            "future_frames": 0,
            "feature_size": 2,
            "state_size": 2,
            "max_gap_frames": 2,
            **changes,
        }
        graphs = ("flow", "features", "sequence")
        kept = graphs[:2] if settings.get("sequence") == "none" else graphs
        engines = {name: ArithmeticEngine(name) for name in kept}
        return load(manifest("behavior", behavior=BehaviorSpec(**settings)), engines)

    return make


@pytest.fixture
async def scheduler():
    """A running scheduler."""
    one = Scheduler(SchedulerConfig())
    one.start()
    yield one
    await one.stop()


@pytest.fixture
def emulate_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EmulatedDriver]:
    """Sets up a GPU in memory of the host, for decode workers that start from now on, too."""
    bindings = pytest.importorskip("cuda.bindings", reason="uv pip install cuda-bindings")
    here = Path(__file__).parent

    def set_up(**options: bool) -> EmulatedDriver:
        driver = EmulatedDriver(**options)
        for name, module in (("driver", driver), ("runtime", LazyRuntime())):
            monkeypatch.setitem(sys.modules, f"cuda.bindings.{name}", module)
            monkeypatch.setattr(bindings, name, module, raising=False)
        monkeypatch.setattr("service.engine.gpu_memory._free_blocks", {})
        for folder in (here / "engine", here / "video" / "emulated_worker"):
            monkeypatch.syspath_prepend(str(folder))
        return driver

    return set_up


@pytest.fixture
def open_in_movement():
    """Opens a file in movement; dimensions have the names of its newer versions (Python 3.12)."""
    io = pytest.importorskip("movement.io", reason="run `uv sync --inexact --group dev`")

    def open_file(path, software, fps=30):
        dataset = io.load_dataset(path, source_software=software, fps=fps)
        names = {"individuals": "individual", "keypoints": "keypoint"}
        return dataset.rename({old: new for old, new in names.items() if old in dataset.dims})

    return open_file
