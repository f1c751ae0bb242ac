import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from service.errors import InvalidConfig
from service.simulation import SimulationSettings, simulate, write_recording
from training.backbones import create_backbone
from training.backbones.command import configure, run
from training.behavior.networks.two_stream import TwoStreamResNet, load_imagenet
from training.figures import read_metrics
from training.runs import open_run

pytestmark = pytest.mark.needs_train

TINY = "--size 96x64 --every 1 --samples 8 --batch-size 4 --precision 32-true --threads 1"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    settings = SimulationSettings(width_px=96, height_px=72, duration_s=1.2, frame_rate_hz=10)
    write_recording(simulate(settings), folder, name="scene", codec="mjpeg")
    return next(path for path in folder.iterdir() if path.stem == "scene" and path.suffix == ".avi")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "teacher.pth"
    torch.manual_seed(5)
    torch.save(create_backbone("mobilenet_v2", weights="random").state_dict(), path)
    return path


def train(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    configure(parser)
    return run(parser.parse_args([str(one) for one in arguments]))


def test_a_student_nears_its_teacher_and_starts_a_behavior_network(
    video: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs" / "student"
    arguments = ("--out", out, "--teacher-weights", teacher)
    assert train(video, *arguments, *TINY.split(), "--epochs", 3) == 0
    path = Path(capsys.readouterr().out.strip())
    losses = [row["loss"] for row in read_metrics(open_run(out).metrics_table)]
    assert len(losses) == 3
    assert losses[-1] < losses[0]

    weights = torch.load(path, weights_only=True)
    network = TwoStreamResNet(18, behaviors=2, mean=(0.5,) * 3, std=(0.2,) * 3)
    loaded = load_imagenet(network, weights)
    assert "spatial_classifier.0.layer4.1.conv2.weight" in loaded
    start = network.get_parameter("spatial_classifier.0.layer4.1.conv2.weight")
    assert torch.equal(start, weights["layer4.1.conv2.weight"])
    assert not np.isnan(start.detach().numpy()).any()


def test_a_student_starts_at_weights_that_are_given(
    video: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(7)
    start = create_backbone("resnet_18", weights="random").state_dict()
    file = tmp_path / "start.pth"
    torch.save(start, file)
    out = tmp_path / "student"
    arguments = ("--out", out, "--teacher-weights", teacher, "--learning-rate", 1e-9)
    assert train(video, *arguments, "--student-weights", file, *TINY.split(), "--epochs", 1) == 0
    taught = torch.load(Path(capsys.readouterr().out.strip()), weights_only=True)
    name = "layer4.1.conv2.weight"
    assert torch.allclose(taught[name], start[name], atol=1e-6)
    assert not torch.equal(taught["bn1.running_mean"], start["bn1.running_mean"])
    with pytest.raises(InvalidConfig, match=r"student weights start\.pth .*; name the same file"):
        train("--resume", "--out", out, "--teacher-weights", teacher)


def test_a_distillation_goes_on_with_the_same_teacher_only(
    video: Path, teacher: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student"
    assert (
        train(video, "--out", out, "--teacher-weights", teacher, *TINY.split(), "--epochs", 1) == 0
    )
    assert train("--resume", "--out", out, "--teacher-weights", teacher) == 0
    other = tmp_path / "other.pth"
    torch.save(create_backbone("mobilenet_v2", weights="random").state_dict(), other)
    with pytest.raises(InvalidConfig, match="name the same file"):
        train("--resume", "--out", out, "--teacher-weights", other)


def test_what_cannot_be_distilled_is_refused(video: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no video was named"):
        train("--out", tmp_path / "a", "--teacher-weights", teacher)
    with pytest.raises(InvalidConfig, match="does not exist"):
        train(video, "--out", tmp_path / "a", "--teacher-weights", tmp_path / "no.pth")
    with pytest.raises(InvalidConfig, match="every is 0"):
        train(video, "--out", tmp_path / "a", "--teacher-weights", teacher, "--every", 0)
    assert not (tmp_path / "a").exists()
