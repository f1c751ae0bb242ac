import argparse
import json

import pytest

from service.commands import simulate
from service.encoders import CODEC_NAMES
from service.errors import InvalidConfig


def call(*arguments):
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    simulate.configure(parser)
    return simulate.run(parser.parse_args([str(argument) for argument in arguments]))


def test_it_writes_as_many_recordings_as_asked_each_with_its_seed(tmp_path, capsys):
    status = call(
        tmp_path, "--size", "128x96", "--duration", 0.5, "--count", 2, "--seed", 4, "--json"
    )
    assert status == 0
    reports = json.loads(capsys.readouterr().out)
    assert [report["name"] for report in reports] == ["openfield_seed4", "openfield_seed5"]
    for report in reports:
        assert report["frame_count"] == 15
        assert report["frames_per_s"] > 0
        assert (tmp_path / f"{report['name']}.mp4").stat().st_size > 1000
        assert (tmp_path / f"{report['name']}_labels.csv").exists()


def test_it_tells_people_what_it_wrote(tmp_path, capsys):
    assert call(
        tmp_path, "--size", "128x96", "--duration", 0.2, "--rate", 50, "--scene", "homecage",
        "--codec", "mjpeg", "--animals", 2, "--name", "pair",
    ) == 0  # fmt: skip
    assert "pair.avi: 10 frames" in capsys.readouterr().out


def test_help_shows_defaults_and_every_codec(capsys):
    with pytest.raises(SystemExit):
        call("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "default: 640x480" in text
    assert "frames a second (1 to 1000) (default: 30.0)" in text
    assert ", ".join(CODEC_NAMES) in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "640"], "640x480"),
        (["--size", "641x480"], "642x480"),
        (["--codec", "divx"], "h264"),
        (["--scene", "maze"], "homecage"),
        (["--count", "0"], "--count is 0"),
        (["--name", "a/b"], "without folders"),
        (["--name", ".."], "without folders"),
        (["--rate", "-3"], "frame_rate_hz"),
        (["--duration", "inf"], "duration_s inf"),
        (["--duration", "1e308"], r"duration_s 1e\+308"),
        (["--duration", "nan"], "duration_s nan"),
        (["--duration", "-1"], r"duration_s -1\.0"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(InvalidConfig, match=message):
        call(tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()
