import argparse
import json
from pathlib import Path

import pytest

from service.bundle import (
    InputSpec,
    Manifest,
    PoseSpec,
    Provenance,
    describe_file,
    write_manifest,
)
from service.commands import models

REPORT = {
    "reference": "torch fp32",
    "samples": 23,
    "gate": "fp32: at most 0.1 px",
    "quantization": "int8 by static quantization of pose",
    "rows": [
        {
            "engine": "onnxruntime",
            "engine_version": "9.1",
            "precision": "fp32",
            "passed": True,
            "figures": {"mean_px": 0.0125},
            "worst_frame": "frame 4",
        },
        {
            "engine": "openvino",
            "engine_version": "9.2",
            "precision": "int8",
            "passed": False,
            "figures": {"mean_px": 0.75},
        },
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "mouse" / "1"
    directory.mkdir(parents=True)
    (directory / "pose.onnx").write_bytes(b"graph")
    (directory / "PARITY.json").write_text(json.dumps(REPORT))
    write_manifest(
        directory,
        Manifest(
            name="mouse",
            version=1,
            task="pose",
            description="",
            input=InputSpec(width_px=64, height_px=64, color="rgb", fit="stretch"),
            pose=PoseSpec(keypoints=("snout",)),
            graphs={"pose": describe_file(directory, "pose.onnx")},
            documents={"parity": describe_file(directory, "PARITY.json")},
            provenance=Provenance(
                run="r", code_commit="c", data="d", data_sha256="e", license="Apache-2.0"
            ),
        ),
    )
    return tmp_path


def show(folder: Path, *more: str) -> None:
    parser = argparse.ArgumentParser()
    models.configure(parser)
    arguments = parser.parse_args(["show", "mouse", "--models", str(folder), *more])
    assert models.run(arguments) == 0


def test_show_tells_what_each_engine_and_precision_gave(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    show(folder)
    lines = capsys.readouterr().out.splitlines()
    first = next(line for line in lines if "onnxruntime 9.1" in line)
    second = next(line for line in lines if "openvino 9.2" in line)
    assert all(text in first for text in ("fp32", "passed", "mean_px 0.0125", "frame 4"))
    assert all(text in second for text in ("int8", "FAILED", "mean_px 0.75"))
    assert any("torch fp32 on 23 held-out frames" in line for line in lines)
    assert "gate: fp32: at most 0.1 px" in lines
    assert "int8 by static quantization of pose" in lines


def test_show_as_json_holds_the_whole_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(folder, "--json")
    (shown,) = json.loads(capsys.readouterr().out)
    assert json.loads(shown["parity_json"]) == REPORT
