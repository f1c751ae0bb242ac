"""A DeepLabCut project with one simulated video, and predictions of it whose faults are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from service.results import (
    AnsweredBundle,
    AnsweredPose,
    Provenance,
    RequestOptions,
    VideoResults,
    write_results,
)
from service.results.provenance import describe_source
from service.simulation import SimulationSettings, simulate, write_recording
from service.tracks.track import Rows, Track
from service.values import FrameStatus, PoseColumns
from service.video.pyav import VideoFile

KEYPOINTS = ("snout", "leftear", "rightear", "tailbase")
FRAMES = 90
JUMPED = {20: 0, 21: 0, 55: 2}
"""Frames in which a keypoint is 60 px from its place, and which one."""
UNSURE = {33: 1, 70: 3}
"""Frames in which a keypoint has a confidence of 0.001."""

CONFIG = """
Task: test
scorer: person
date: Nov21
multianimalproject: {multi}
video_sets:
  {video}:
    crop: 0, 160, 0, 120
bodyparts: {parts}
{more}
skeleton: []
start: 0
stop: 1
numframes2pick: 20
iteration: 2
"""


@dataclass(frozen=True)
class Mining:
    """What a test needs."""

    project: Path
    video: Path
    keypoints_xy: NDArray[np.float32]
    """(T, 1, K, 2) px with the faults."""
    confidence: NDArray[np.float32]
    """(T, 1, K)"""

    @property
    def folder(self) -> Path:
        return self.project / "labeled-data" / self.video.stem

    def write_h5(self, path: Path | None = None, scorer: str = "DLC_Resnet50_test") -> Path:
        """Predictions as DeepLabCut writes them."""
        path = path or self.video.with_name(f"{self.video.stem}{scorer}.h5")
        columns = pd.MultiIndex.from_product(
            [[scorer], KEYPOINTS, ["x", "y", "likelihood"]],
            names=["scorer", "bodyparts", "coords"],
        )
        values = np.concatenate([self.keypoints_xy, self.confidence[..., None]], axis=-1)
        table = pd.DataFrame(values.reshape(len(values), -1).astype(float), columns=columns)
        table.to_hdf(path, key="df_with_missing", mode="w", format="table")
        return path

    def write_record(self, out: Path, animals: int = 1) -> Path:
        """The record that `ethostream analyze` writes."""
        bundle = AnsweredBundle(
            name="mouse",
            version=4,
            manifest_sha256="a" * 64,
            engine="fake:cpu",
            precision="fp32",
            pose=AnsweredPose(
                keypoints=KEYPOINTS, skeleton=(("snout", "tailbase"),), max_animals=animals
            ),
        )
        provenance = Provenance(
            ethostream="0.1.0",
            source=describe_source(self.video),
            info=VideoFile(self.video).info,
            bundles=(bundle,),
            options=RequestOptions(),
        )
        index = np.arange(FRAMES)
        results = VideoResults(
            provenance,
            index,
            index * 33_333_333,
            np.full(FRAMES, FrameStatus.OK, np.uint8),
            (
                PoseColumns(
                    bundle.key,
                    np.repeat(self.keypoints_xy, animals, axis=1),
                    np.repeat(self.confidence, animals, axis=1),
                ),
            ),
            (),
        )
        out.mkdir(exist_ok=True)
        write_results(results, out, [])
        (record,) = out.glob("*.parquet")
        return record


def write_config(
    project: Path,
    video: Path,
    *,
    parts: Sequence[str] = KEYPOINTS,
    individuals: Sequence[str] = (),
    unique: Sequence[str] = (),
) -> None:
    project.mkdir(exist_ok=True)
    more = ""
    if individuals:
        more = (
            f"individuals: [{', '.join(individuals)}]\n"
            f"multianimalbodyparts: [{', '.join(parts)}]\n"
            f"uniquebodyparts: [{', '.join(unique)}]"
        )
    text = CONFIG.format(
        multi=str(bool(individuals)).lower(),
        video=video,
        parts="MULTI!" if individuals else f"[{', '.join(parts)}]",
        more=more,
    )
    (project / "config.yaml").write_text(text)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.float32]]:
    """Three seconds of a simulated mouse, and where its keypoints are."""
    settings = SimulationSettings(width_px=160, height_px=120, duration_s=FRAMES / 30, seed=2)
    recording = simulate(settings)
    files = write_recording(recording, tmp_path_factory.mktemp("simulated"), name="mouse")
    return files.video, recording.keypoints_xy.astype(np.float32)


@pytest.fixture
def mining(tmp_path: Path, simulated: tuple[Path, NDArray[np.float32]]) -> Mining:
    video, truth = simulated
    keypoints_xy = truth.copy()
    confidence = np.full(truth.shape[:3], 0.9, np.float32)
    for frame, keypoint in JUMPED.items():
        keypoints_xy[frame, 0, keypoint] += (60, 0)
    for frame, keypoint in UNSURE.items():
        confidence[frame, 0, keypoint] = 0.001
    project = tmp_path / "project"
    (project / "videos").mkdir(parents=True)
    (project / "videos" / "mouse.mp4").symlink_to(video)
    write_config(project, Path("/elsewhere/mouse.mp4"))
    return Mining(project, project / "videos" / "mouse.mp4", keypoints_xy, confidence)


@pytest.fixture
def set_config() -> Callable[..., None]:
    return write_config


@pytest.fixture
def make_track() -> Callable[..., Track]:
    """Makes a track from arrays."""

    def make(
        keypoints_xy: NDArray[np.float32],
        confidence: NDArray[np.float32] | None = None,
        rows: Rows = "animals",
        frame_index: Sequence[int] | None = None,
    ) -> Track:
        frames, animals, keypoints = keypoints_xy.shape[:3]
        index = range(frames) if frame_index is None else frame_index
        return Track(
            source=Path("predictions.h5"),
            model="net@1",
            keypoints=KEYPOINTS[:keypoints],
            animals=animals,
            frame_rate_hz=30.0,
            frame_index=np.array(index, np.int64),
            keypoints_xy=keypoints_xy.astype(np.float32),
            confidence=np.ones((frames, animals, keypoints), np.float32)
            if confidence is None
            else confidence,
            rows=rows,
        )

    return make
