import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.errors import InvalidConfig
from training.behavior.flow_pictures import (
    draw_flow_examples,
    flow_examples,
    flow_picture,
    photometric_error,
    write_flow_report,
)
from training.behavior.networks.base import FlowGenerator
from training.data.behavior_frames import Footage
from training.data.labels import InvalidLabels

pytestmark = pytest.mark.needs_train

SPEED_PX = (3.0, -2.0)
"""Per frame: to the right and up."""


class ConstantFlow(FlowGenerator):
    """Sees the same motion everywhere."""

    def __init__(self, x_px: float, y_px: float, input_frames: int = 2) -> None:
        super().__init__()
        self.input_frames = input_frames
        self._motion = (x_px, y_px)

    def forward(self, frames: Tensor) -> list[Tensor]:
        batch, length, height, width = frames.shape[:4]
        flow = torch.tensor(self._motion).view(1, 1, 2, 1, 1)
        shape = (batch, length - 1, 2, height // 2, width // 2)
        return [flow.expand(*shape), flow.expand(*shape[:3], height // 4, width // 4)]


def moving_footage(frames: int = 16, clips: tuple[tuple[int, int], ...] = ()) -> Footage:
    """Smooth noise that moves by `SPEED_PX` a frame."""
    random = np.random.default_rng(3)
    scene = cv2.GaussianBlur(random.random((200, 260), np.float32), (0, 0), 4.0)
    scene = (scene - scene.min()) / np.ptp(scene) * 255.0
    x, y = np.array(SPEED_PX, int)
    pictures = [scene[60 - y * frame :, 60 - x * frame :][:64, :96] for frame in range(frames)]
    pixels = np.rint(np.stack(pictures)).astype(np.uint8)[..., None]
    labels = np.zeros((frames, 1), np.int8)
    return Footage("scene", pixels, labels, clips or ((0, frames),))


def constant(x_px: float, y_px: float) -> NDArray[np.float32]:
    return np.broadcast_to(np.array([x_px, y_px], np.float32)[:, None, None], (2, 4, 6))


def test_polar_colors_tell_direction_and_length() -> None:
    for motion, color in (
        ((5.0, 0.0), (255, 0, 0)),
        ((-5.0, 0.0), (0, 255, 255)),
        ((2.5, 0.0), (128, 0, 0)),
        ((0.0, 0.0), (0, 0, 0)),
        ((40.0, 0.0), (255, 0, 0)),
    ):
        assert flow_picture(constant(*motion))[0, 0].tolist() == pytest.approx(color, abs=1)
    down, up = flow_picture(constant(0.0, 5.0))[0, 0], flow_picture(constant(0.0, -5.0))[0, 0]
    assert down.tolist() == pytest.approx((128, 255, 0), abs=1)
    assert up.tolist() == pytest.approx((128, 0, 255), abs=1)


def test_linear_colors_are_half_bright_where_nothing_moves() -> None:
    for motion, color in (
        ((0.0, 0.0), (128, 128, 0)),
        ((5.0, -5.0), (255, 0, 0)),
        ((-9.0, 2.5), (0, 191, 0)),
    ):
        picture = flow_picture(constant(*motion), style="linear")
        assert picture.shape == (4, 6, 3)
        assert picture[0, 0].tolist() == pytest.approx(color, abs=1)


@pytest.mark.parametrize("length", [2, 4])
def test_the_true_flow_rebuilds_the_frame(length: int) -> None:
    (error,) = photometric_error(
        ConstantFlow(*SPEED_PX, input_frames=length), [moving_footage()], gaps=(1,), pairs=15
    )
    assert error.motion_px == pytest.approx(np.hypot(*SPEED_PX))
    assert error.improved == 1.0
    assert error.l1 < 0.15 * error.l1_still  # what is left is beyond the picture's edge
    assert error.dissimilarity < 0.5 * error.dissimilarity_still
    assert error.l1_opposite > 1.2 * error.l1_still


def test_each_gap_is_measured_on_its_own() -> None:
    errors = photometric_error(ConstantFlow(*SPEED_PX), [moving_footage()], gaps=(1, 3))
    assert [one.gap_frames for one in errors] == [1, 3]
    assert [one.pairs for one in errors] == [15, 13]
    assert errors[1].l1_still > errors[0].l1_still
    assert errors[1].l1 > 5 * errors[0].l1  # the flow of one frame does not fit three


def test_no_motion_equals_the_baseline() -> None:
    (error,) = photometric_error(ConstantFlow(0.0, 0.0), [moving_footage()], gaps=(1,))
    assert error.l1 == pytest.approx(error.l1_still, abs=1e-6)
    assert error.dissimilarity == pytest.approx(error.dissimilarity_still, abs=1e-5)


def test_a_network_keeps_its_mode_of_training() -> None:
    network = ConstantFlow(0.0, 0.0)
    network.train()
    photometric_error(network, [moving_footage()], gaps=(1,), pairs=2)
    assert network.training


def test_no_pair_crosses_a_clip_limit() -> None:
    footage = moving_footage(frames=6, clips=((0, 2), (2, 4), (4, 6)))
    (error,) = photometric_error(ConstantFlow(*SPEED_PX), [footage], gaps=(1,))
    assert error.pairs == 3
    with pytest.raises(InvalidLabels, match="no clip has 3 frames"):
        photometric_error(ConstantFlow(*SPEED_PX), [footage], gaps=(2,))


def test_a_gap_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="the gap is 0"):
        photometric_error(ConstantFlow(*SPEED_PX), [moving_footage()], gaps=(0,))


def test_examples_are_the_pairs_that_differ_most() -> None:
    still = Footage(
        "still", np.full((8, 64, 96, 1), 90, np.uint8), np.zeros((8, 1), np.int8), ((0, 8),)
    )
    examples = flow_examples(ConstantFlow(*SPEED_PX), [still, moving_footage(8)], count=3)
    assert len(examples) == 3
    for one in examples:
        assert one.flow.shape == (2, 64, 96)
        assert abs(one.first - one.rebuilt).mean() < 0.2 * abs(one.first - one.second).mean()


def test_the_report_is_a_table_and_a_picture(tmp_path: Path) -> None:
    found = write_flow_report(ConstantFlow(*SPEED_PX), [moving_footage(8)], tmp_path / "new")
    stored = json.loads((tmp_path / "new" / "flow.json").read_text())
    assert [one["l1"] for one in stored] == [one.l1 for one in found]
    picture = cv2.imread(str(tmp_path / "new" / "flow.png"))
    assert picture is not None
    assert picture.std() > 10


def test_a_picture_of_still_frames_can_be_drawn(tmp_path: Path) -> None:
    still = Footage(
        "still", np.zeros((4, 64, 96, 1), np.uint8), np.zeros((4, 1), np.int8), ((0, 4),)
    )
    examples = flow_examples(ConstantFlow(0.0, 0.0), [still], count=1)
    draw_flow_examples(examples, tmp_path / "still.png", style="linear")
    assert (tmp_path / "still.png").stat().st_size > 1000


def test_the_report_leaves_out_gaps_that_no_clip_has(tmp_path: Path) -> None:
    footage = moving_footage(16, clips=((0, 8), (8, 16)))
    found = write_flow_report(ConstantFlow(*SPEED_PX, input_frames=4), [footage], tmp_path)
    assert [one.gap_frames for one in found] == [1, 2]
    stored = json.loads((tmp_path / "flow.json").read_text())
    assert [one["gap_frames"] for one in stored] == [1, 2]
    assert (tmp_path / "flow.png").is_file()


def test_clips_shorter_than_a_window_are_reported_without_flow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = ConstantFlow(*SPEED_PX, input_frames=11)
    assert write_flow_report(network, [moving_footage(8)], tmp_path) == ()
    assert "no clip has the 11 frames" in caplog.text
    assert not list(tmp_path.iterdir())
