"""The panel below the frames: each behavior's probability now, and its last seconds."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from service.drawing import colors
from service.drawing.colors import Color, behavior_color, mix, series_color
from service.drawing.text import draw_text, text_width
from service.results import VideoResults
from service.results.provenance import AnsweredBehavior
from service.results.video_results import kept_bouts

HISTORY_S = 8.0


@dataclass(frozen=True, slots=True)
class _Row:
    """One behavior of one bundle."""

    name: str
    color: Color
    probability: NDArray[np.float32]
    """(T,) NaN without context."""
    present: NDArray[np.bool_]
    """(T,) after the bout rule."""
    threshold: float | None
    """None where the most probable behavior is taken."""
    middle_px: int


class Panel:
    """Draws the panel of one video, `height_px` high and as wide as the picture."""

    def __init__(self, results: VideoResults, width_px: int) -> None:
        self._unit = width_px / 640
        self._size = max(9, round(12 * self._unit))
        self._line = round(22 * self._unit)
        self._margin = round(14 * self._unit)
        self._rows: list[_Row] = []
        height = round(8 * self._unit)
        self._legend = _legend(results)
        self._legend_middle = height + self._line // 2
        height += self._line if self._legend else 0
        for bundle, found in results.behavior_answers():
            assert bundle.behavior is not None
            kept = kept_bouts(bundle.behavior, found)
            for place, name in enumerate(bundle.behavior.behaviors):
                self._rows.append(
                    _Row(
                        name.replace("_", " "),
                        behavior_color(bundle.behavior.behaviors, place),
                        found.probabilities[:, place],
                        kept[:, place],
                        _threshold(bundle.behavior, place),
                        height + self._line // 2,
                    )
                )
                height += self._line
        height += round(8 * self._unit)
        self.height_px = height + height % 2
        self._history = max(2, round(HISTORY_S * (results.frame_rate_hz or 30.0)))
        self._columns = self._place_columns(width_px)
        self._ground = self._draw_ground(width_px)

    def draw(self, row: int) -> NDArray[np.uint8]:
        """Return the panel at row number `row` of the results, (height_px, W, 3) uint8 RGB."""
        image = self._ground.copy()
        for behavior in self._rows:
            self._draw_row(image, behavior, row)
        return image

    def _place_columns(self, width_px: int) -> tuple[int, int, int, int]:
        """Left and right end of the bars, left and right end of the history."""
        names = [text_width(one.name, size_px=self._size, bold=True) for one in self._rows]
        bar = self._margin + min(max(names, default=0), width_px // 3) + round(20 * self._unit)
        bar_end = bar + round((width_px - bar) * 0.3)
        history = bar_end + round(48 * self._unit)
        return bar, bar_end, history, width_px - self._margin

    def _draw_ground(self, width_px: int) -> NDArray[np.uint8]:
        """Draw what no frame changes."""
        image: NDArray[np.uint8] = np.full((self.height_px, width_px, 3), colors.PANEL, np.uint8)
        x = self._margin
        for name, color in self._legend:
            middle = self._legend_middle
            cv2.circle(
                image, (x + self._size // 3, middle), self._size // 3, color, -1, cv2.LINE_AA
            )
            x += round(self._size * 0.95)
            draw_text(image, name, x, middle, size_px=self._size, color=colors.DIM_TEXT)
            x += text_width(name, size_px=self._size) + round(16 * self._unit)
        bar, bar_end, history, history_end = self._columns
        half = round(6 * self._unit)
        for row in self._rows:
            rows = slice(row.middle_px - half, row.middle_px + half)
            image[rows, bar:bar_end] = colors.TRACK
            image[rows, history:history_end] = colors.TRACK
        return image

    def _draw_row(self, image: NDArray[np.uint8], behavior: _Row, row: int) -> None:
        bar, bar_end, history, history_end = self._columns
        probability = float(behavior.probability[row])
        known = probability == probability
        present = bool(behavior.present[row])
        name_color = behavior.color if present else colors.DIM_TEXT
        draw_text(
            image,
            behavior.name,
            self._margin,
            behavior.middle_px,
            color=name_color,
            bold=present,
            size_px=self._size,
        )
        half = round(6 * self._unit)
        rows = slice(behavior.middle_px - half, behavior.middle_px + half)
        if known:
            end = bar + round((bar_end - bar) * probability)
            image[rows, bar:end] = (
                behavior.color if present else mix(behavior.color, colors.TRACK, 0.55)
            )
        text = f"{probability:.2f}" if known else "-"
        draw_text(
            image,
            text,
            bar_end + round(40 * self._unit),
            behavior.middle_px,
            color=colors.TEXT if present else colors.DIM_TEXT,
            right=True,
            size_px=self._size,
        )
        if behavior.threshold is not None:
            tick = bar + round((bar_end - bar) * behavior.threshold)
            thick = max(1, round(self._unit))
            image[rows.start - 2 : rows.stop + 2, tick : tick + thick] = colors.TEXT
        self._draw_history(image[rows, history:history_end], behavior, row)

    def _draw_history(self, strip: NDArray[np.uint8], behavior: _Row, row: int) -> None:
        """Fill a strip with the last frames, now at its right end: bright where present."""
        first = max(0, row + 1 - self._history)
        probability = behavior.probability[first : row + 1]
        present = behavior.present[first : row + 1]
        # Level of each pixel row from the bottom; the probability is a curve filled from there.
        levels = (np.arange(len(strip))[::-1] + 0.5) / len(strip)
        filled = np.nan_to_num(probability, nan=-1.0)[None, :] >= levels[:, None]
        picture = np.where(
            filled[..., None],
            np.array(mix(behavior.color, colors.TRACK, 0.45), np.uint8),
            np.array(colors.TRACK, np.uint8),
        )
        picture[:, present] = behavior.color
        picture[:, np.isnan(probability)] = colors.PANEL
        width = round(strip.shape[1] * picture.shape[1] / self._history)
        if width:
            strip[:, strip.shape[1] - width :] = cv2.resize(
                picture, (width, len(strip)), interpolation=cv2.INTER_NEAREST
            )


def _threshold(behavior: AnsweredBehavior, place: int) -> float | None:
    return None if behavior.exclusive else behavior.thresholds[place]


def _legend(results: VideoResults) -> list[tuple[str, Color]]:
    names: list[str] = []
    for bundle in results.provenance.pose_bundles:
        assert bundle.pose is not None
        names += bundle.pose.keypoints
    return [(name, series_color(place)) for place, name in enumerate(names)]
