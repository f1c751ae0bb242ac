import pytest

from training.pose.presets import PRESETS, input_size

pytestmark = pytest.mark.needs_train


@pytest.mark.parametrize(
    ("preset", "size"), [("tiny", (256, 192)), ("fast", (384, 288)), ("accurate", (512, 384))]
)
def test_presets_take_the_aspect_ratio_of_the_frames(preset: str, size: tuple[int, int]) -> None:
    area = PRESETS[preset].area_px
    assert input_size(area, [(640, 480)] * 3) == size
    width, height = input_size(area, [(480, 640), (480, 640), (640, 480)])
    assert (height, width) == size
    wide = input_size(area, [(1600, 400)])
    assert wide[0] / wide[1] == pytest.approx(4, rel=0.35)
    assert all(side % 32 == 0 for side in wide)
