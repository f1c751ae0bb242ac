import json
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.bundle import BehaviorSpec
from training.behavior.figures import Answers, BehaviorFigures, measure
from training.behavior.report import write_report
from training.behavior.report.stretches import extreme_stretches

pytestmark = pytest.mark.needs_train

VOID = {"meta", "img"}


class Page(HTMLParser):
    """The headings, cells and addresses of a page; fails where tags do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self.cells: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"{self.open} were not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert tag not in ("script", "link", "iframe")
        assert "href" not in found
        if tag == "h2":
            self.sections.append(str(found["id"]))
        if tag == "img":
            self.addresses.append(str(found["src"]))
        if tag == "tr":
            self.cells.append([])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1].append(data)


def measured(
    *, exclusive: bool, second: bool = False
) -> tuple[BehaviorFigures, list[Answers], dict[str, np.ndarray]]:
    """Three recordings of 260 frames with a model that is right more often than not."""
    names = ("background", "rear <b>") if exclusive else ("run", "rear <b>", "never")
    random = np.random.default_rng(6)
    spec = BehaviorSpec(
        behaviors=names,
        exclusive=exclusive,
        thresholds=(0.4,) * len(names),
        min_bout_frames=(2,) * len(names),
        frame_rate_hz=10.0,
        flow_frames=2,
        past_frames=2,
        future_frames=0,
        feature_size=4,
        state_size=4,
    )
    answers = []
    for place in range(3):
        on = np.repeat(random.random((26, len(names))) < 0.4, 10, axis=0)
        if exclusive:
            on = np.column_stack([~on[:, 1], on[:, 1]])
        else:
            on[:, 2] = False
        values = np.where(on, 0.7, 0.2) + random.normal(0, 0.15, on.shape)
        values = np.clip(values, 0, 1).astype(np.float32)
        values[:2] = np.nan
        labels = on.astype(np.int8)
        labels[50:60] = -1
        answers.append(Answers(f"mouse {place}", values, labels, ((0, 130), (130, 260))))
    other = {one.name: np.roll(one.labels, 2, axis=0) for one in answers} if second else {}
    return measure(answers, spec, second=other or None, shuffles=5), answers, other


@pytest.fixture(scope="module", params=[True, False], ids=["exclusive", "multi-label"])
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BehaviorFigures, Path]:
    """The figures and the folder of a report; multi-label ones have a second labeller."""
    figures, answers, second = measured(exclusive=request.param, second=not request.param)
    out = tmp_path_factory.mktemp("report") / "out"
    path = write_report(figures, answers, out, title="tiny <i>", second=second)
    assert path == out / "report.html"
    return figures, out


def test_the_page_has_every_section_and_needs_no_network(
    written: tuple[BehaviorFigures, Path],
) -> None:
    figures, out = written
    labellers = [] if figures.second is None else ["labellers"]
    text = (out / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.sections == [
        *("summary", "behaviors", "confusion", "curves", "thresholds", "calibration", "bouts"),
        *labellers,
        *("recordings", "worst", "best", "ethograms"),
    ]
    assert "http" not in text
    assert "tiny <i>" not in text
    assert "rear <b>" not in text
    plots = {one.stem for one in (out / "plots").iterdir()}
    assert plots == {
        *("f1", "confusion", "precision_recall", "roc", "thresholds", "calibration"),
        *("recordings", "bouts"),
        *(("bouts_second", "correlations") if labellers else ()),
    }
    ethograms = sorted((out / "ethograms").iterdir())
    assert len(page.addresses) == len(plots) + len(ethograms)
    assert sum(one.name.startswith("recording-") for one in ethograms) == 3
    for address in page.addresses:
        kind, encoded = address.split("base64,")
        assert kind == "data:image/png;"
        picture = cv2.imdecode(np.frombuffer(b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
        assert picture.std() > 1


def test_tables_tell_the_figures_and_chance_beside_them(
    written: tuple[BehaviorFigures, Path],
) -> None:
    figures, out = written
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    rows = {row[0]: row[1:] for row in reversed(page.cells)}
    assert figures.chance is not None
    expected = [f"{figures.match.macro_f1:.3f}", f"{figures.chance.macro_f1:.3f}"]
    assert rows["macro F1"] == expected
    assert rows["rear <b>"][0] == f"{figures.match.f1[1]:.3f}"
    if figures.second is not None:
        assert rows["never"][4] == "-"  # recall of a behavior that is not labelled
        agreed = rows["second person to first person: frame F1"]
        assert agreed[1] == f"{figures.second.people.frames.f1[0]:.3f}"
    stored = json.loads((out / "figures.json").read_text("utf-8"))
    assert stored["macro_f1"] == figures.match.macro_f1


def test_stretches_with_most_errors_and_most_hits_are_found() -> None:
    figures, _, _ = measured(exclusive=False)
    labels = np.zeros((300, 3), np.int8)
    labels[100:200, 0] = 1
    values = np.where(labels == 1, 0.9, 0.1).astype(np.float32)
    values[200:240, 1] = 0.9
    one = Answers("made", values, labels, ((0, 300),))
    worst, best = extreme_stretches([one], figures)
    assert [(stretch.first, stretch.wrong) for stretch in worst] == [(200, 40)]
    assert [(stretch.first, stretch.right) for stretch in best] == [(100, 100)]


def test_a_model_that_finds_nothing_replaces_the_report_of_another_one(tmp_path: Path) -> None:
    (tmp_path / "ethograms").mkdir()
    for name in ("recording-099-old.png", "mine.png"):
        (tmp_path / "ethograms" / name).write_bytes(b"old")
    spec = measured(exclusive=False)[0].spec
    labels = np.zeros((30, 3), np.int8)
    silent = Answers("silent", np.zeros((30, 3), np.float32), labels, ((0, 30),))
    found = measure([silent], spec, second={"silent": labels}, shuffles=0)
    page = Page(write_report(found, [silent], tmp_path).read_text("utf-8"))
    assert "best" in page.sections
    assert not (tmp_path / "plots" / "recordings.png").exists()
    assert sorted(path.name for path in (tmp_path / "ethograms").iterdir()) == [
        "mine.png",
        "recording-001-silent.png",
    ]
