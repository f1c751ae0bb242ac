from base64 import b64decode
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from training.data.frames import Example
from training.pose.evaluate import MeasuredPart, PoseMeasurement
from training.pose.predictions import PosePredictions, summarize
from training.pose.report import write_report
from training.pose.report.pictures import draw_labelled
from training.pose.report.plots import draw_plots

pytestmark = pytest.mark.needs_train

KEYPOINTS = ("snout", "tail <b>")
WIDTH_PX, HEIGHT_PX = 80, 60


def part(name: str, *, frames: int, animals: int = 1, rows: int = 1) -> MeasuredPart:
    """Frames whose errors grow: 1 px in the first, 2 px in the second, and so on."""
    random = np.random.default_rng(4)
    labels = random.uniform(15, 45, (frames, animals, 2, 2)).astype(np.float32)
    labels[0, 0, 1] = np.nan
    shift = np.zeros((frames, 1, 1, 2), np.float32)
    shift[..., 0] = np.arange(1, frames + 1)[:, None, None]
    found_xy = np.repeat(labels[:, :1], rows, axis=1) if rows != animals else labels
    found_xy = np.nan_to_num(found_xy + shift, nan=20.0)
    confidence = random.uniform(0.3, 1, found_xy.shape[:3]).astype(np.float32)
    examples = tuple(
        Example(f"video/img{i:02d}.png", np.full((HEIGHT_PX, WIDTH_PX), 90, np.uint8), labels[i])
        for i in range(frames)
    )
    found = PosePredictions(found_xy, confidence, labels)
    figures = {"frames": frames, **summarize(found, KEYPOINTS, 0.6)}
    return MeasuredPart(name, examples, found, figures)


def measurement(*parts: MeasuredPart, metrics: Path | None = None) -> PoseMeasurement:
    return PoseMeasurement(
        kind="run",
        model="tiny",
        engine="torch:cpu",
        precision="fp32",
        confidence_cutoff=0.6,
        keypoints=KEYPOINTS,
        skeleton=(),
        parts=parts,
        metrics_table=metrics,
    )


def test_the_page_holds_its_plots_and_pictures_and_escapes_names(tmp_path: Path) -> None:
    table = tmp_path / "metrics.csv"
    table.write_text("epoch,heldout_error_px,loss\n0,9.5,0.8\n1,4.5,0.4\n")
    measured = measurement(part("test", frames=4), part("training", frames=6), metrics=table)
    page = write_report(measured, tmp_path / "report")
    text = page.read_text()
    assert "tail <b>" not in text
    assert "tail &lt;b&gt;" in text
    assert "http" not in text.lower().replace("http-equiv", "")
    pictures = text.split('src="data:image/')[1:]
    assert len(pictures) == 5 + 4 + 6  # four plots and the curves, and every frame
    for picture in pictures:
        encoded = picture.split("base64,", 1)[1].split('"', 1)[0]
        decoded = cv2.imdecode(np.frombuffer(b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
        assert decoded.size
    mean = measured.parts[0].figures["mean_error_px"]
    assert f"<td>{mean:.2f}</td>" in text


def test_the_legends_of_confidence_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[str] = []

    def look(figure: Figure, path: Path, **_: object) -> None:
        figure.draw_without_rendering()
        [axes] = figure.axes
        if path.stem in ("confidence_histogram", "error_against_confidence"):
            legend = axes.get_legend().get_window_extent()
            inside.extend([path.stem] if legend.y0 < axes.get_window_extent().y1 - 1 else [])

    monkeypatch.setattr(Figure, "savefig", look)
    draw_plots(measurement(part("test", frames=4), part("training", frames=6)), tmp_path)
    assert inside == []


def test_the_worst_frames_come_first_and_an_earlier_report_leaves_nothing(tmp_path: Path) -> None:
    write_report(measurement(part("test", frames=5)), tmp_path)
    write_report(measurement(part("test", frames=3)), tmp_path)
    names = sorted(path.name for path in (tmp_path / "labelled" / "test").iterdir())
    assert names == ["001-video-img02.png", "002-video-img01.png", "003-video-img00.png"]
    assert (tmp_path / "plots" / "error_per_keypoint.png").is_file()
    assert not (tmp_path / "plots" / "detections.png").exists()


def test_several_animals_get_a_plot_of_recall_and_precision(tmp_path: Path) -> None:
    measured = measurement(part("test", frames=3, animals=3, rows=1))
    page = write_report(measured, tmp_path)
    assert (tmp_path / "plots" / "detections.png").is_file()
    recall = measured.figures()["detections"]["recall"]
    assert 0 < recall < 0.4
    assert f'<th scope="row">recall</th><td class="text">{recall:.1%}</td>' in page.read_text()


def test_labels_are_crosses_and_found_points_circles_in_the_color_of_the_keypoint() -> None:
    label = np.array([[[20, 30]]], np.float32)
    found = np.array([[[60, 30]]], np.float32)
    example = Example("a.png", np.zeros((60, 80, 3), np.uint8), label)
    rows = np.zeros((1, 1), np.intp)

    def draw(confidence: float) -> np.ndarray:
        return draw_labelled(
            example,
            found,
            np.full((1, 1), confidence, np.float32),
            rows,
            keypoints=("snout",),
            cutoff=0.6,
            title="a",
        )

    picture = draw(0.9)
    scale = picture.shape[1] // 80
    assert scale >= 12

    def at(x_px: float, y_px: float) -> list[int]:
        place = (round((y_px + 0.5) * scale - 0.5), round((x_px + 0.5) * scale - 0.5))
        return picture[place].tolist()

    blue = [56, 160, 255]
    assert at(20, 30) == blue  # the middle of the +
    assert at(40, 30) == pytest.approx(blue, abs=40)  # the smooth line between both
    # The o is a ring of 7 px of the picture around the found point; nothing is further up.
    center = round(60.5 * scale - 0.5), round(30.5 * scale - 0.5)
    assert picture[center[1] - 7, center[0]].tolist() == pytest.approx(blue, abs=40)
    assert picture[center[1] - 15, center[0]].tolist() == [0, 0, 0]
    unsure = draw(0.5)
    assert max(unsure[center[1] - 7, center[0]]) < 30
    assert unsure[center[1], center[0]].tolist() == pytest.approx(blue, abs=40)
