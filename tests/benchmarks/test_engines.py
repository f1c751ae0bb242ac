"""A long table goes on where it was stopped: what is done is not measured anew."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx.parser
import pytest

from service.bundle import (
    Bundle,
    InputSpec,
    Manifest,
    PoseSpec,
    Provenance,
    describe_file,
    write_manifest,
)

pytest.importorskip("torch", reason="uv sync --extra cpu --extra train")
from benchmarks import engines

pytestmark = pytest.mark.needs_train

GRAPH = """<ir_version: 8, opset_import: ["": 18]>
pose (uint8[batch, 16, 16, 1] frames) => (float[batch, 1, 1, 3] keypoints)
<int64[2] axes = {1, 2}, int64[4] shape = {0, 1, 1, 1}>
{
  pixels = Cast<to = 1>(frames)
  mean = ReduceMean<keepdims = 0>(pixels, axes)
  one = Reshape(mean, shape)
  keypoints = Concat<axis = 3>(one, one, one)
}"""
NAMES = ("one", "two")
BATCHES = (1, 2)
Measured = list[tuple[str, int]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in NAMES:
        directory = folder / name / "1"
        directory.mkdir(parents=True)
        onnx.save(onnx.parser.parse_model(GRAPH), directory / "pose.onnx")
        manifest = Manifest(
            name=name,
            version=1,
            task="pose",
            description="",
            input=InputSpec(width_px=16, height_px=16, color="gray", fit="stretch"),
            pose=PoseSpec(keypoints=("snout",)),
            graphs={"pose": describe_file(directory, "pose.onnx")},
            provenance=Provenance(
                run="r", code_commit="c", data="d", data_sha256="e", license="Apache-2.0"
            ),
        )
        write_manifest(directory, manifest)
    return folder


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """What was really measured, by bundle and batch size."""
    done: Measured = []
    real = engines._measure

    def measure(bundle: Bundle, batch: int, arguments: object) -> Iterator[dict[str, object]]:
        done.append((bundle.name, batch))
        yield from real(bundle, batch, arguments)

    monkeypatch.setattr(engines, "_measure", measure)
    monkeypatch.setattr(engines, "commit", lambda: "abc1234")  # others may commit meanwhile
    return done


@pytest.fixture
def arguments(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Those of a table of four parts that takes no time; tests append to them."""
    text = f"engines --models {models} --state {tmp_path / 'rows.jsonl'} --threads 1 --seconds 0.01"
    line = [*text.split(), "--bundles", *NAMES, "--batch-sizes", *map(str, BATCHES)]
    monkeypatch.setattr(sys, "argv", line)
    return line


def run_table(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert engines.main() == 0
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    return rows


def stop_at(monkeypatch: pytest.MonkeyPatch, wanted: tuple[str, int]) -> None:
    """Interrupt, as Ctrl-C does, in the middle of measuring one part."""
    real = engines._measure

    def measure(bundle: Bundle, batch: int, arguments: object) -> Iterator[dict[str, object]]:
        rows = real(bundle, batch, arguments)
        yield next(rows)
        if (bundle.name, batch) == wanted:
            raise KeyboardInterrupt
        yield from rows

    monkeypatch.setattr(engines, "_measure", measure)


def test_a_stopped_table_goes_on_and_keeps_what_was_measured(
    arguments: list[str],
    measured: Measured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, ("two", 1))
        with pytest.raises(KeyboardInterrupt):
            engines.main()
    assert measured == [("one", 1), ("one", 2), ("two", 1)]
    stored = [
        json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().split("\n") if line
    ]
    before = [row for one in stored for row in one["rows"]]
    assert {(row["bundle"], row["batch"]) for row in before} == {("one", 1), ("one", 2)}

    measured.clear()
    rows = run_table(capsys)
    assert measured == [("two", 1), ("two", 2)]
    assert rows[: len(before)] == before
    assert {(row["bundle"], row["batch"]) for row in rows} == {
        (name, batch) for name in NAMES for batch in BATCHES
    }
    assert {row["engine"] for row in rows} >= {"onnxruntime", "openvino"}

    measured.clear()
    assert run_table(capsys) == rows
    assert measured == []


def test_the_torn_line_of_a_killed_run_is_measured_anew(
    arguments: list[str], measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_table(capsys)
    state = tmp_path / "rows.jsonl"
    state.write_text(state.read_text().rstrip()[:-20])
    measured.clear()
    rows = run_table(capsys)
    assert measured == [("two", 2)]
    measured.clear()
    assert run_table(capsys) == rows
    assert measured == []


@pytest.mark.parametrize("changed", [["--seconds", "0.02"], ["--fresh"], []])
def test_rows_of_other_settings_or_of_another_commit_are_measured_anew(
    arguments: list[str],
    measured: Measured,
    changed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_table(capsys)
    measured.clear()
    if changed:
        monkeypatch.setattr(sys, "argv", [*arguments, *changed])
    else:
        monkeypatch.setattr(engines, "commit", lambda: "def5678")
    run_table(capsys)
    assert measured == [(name, batch) for name in NAMES for batch in BATCHES]
