import argparse
import json

import pytest
import torch
from torch import nn

from training.behavior import counts as command
from training.behavior.counts import (
    Count,
    Preset,
    Stage,
    all_presets,
    counts,
    multiply_accumulates,
)

pytestmark = pytest.mark.needs_train


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], Count]:
    return {(row.preset, row.stage): row for row in counts(all_presets((256, 256)))}


def run_command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args(list(arguments)))


@pytest.mark.parametrize(
    ("preset", "stage", "gmac"),
    [
        ("deg_f", "flow", 16.7),
        ("deg_f", "features", 2.37 + 0.81),
        ("deg_f", "total", 19.9),
        ("deg_m", "flow", 29.0),
        ("deg_m", "features", 5.34 + 1.55),
        ("deg_m", "total", 35.9),
    ],
)
def test_a_frame_costs_what_the_layers_say(
    rows: dict[tuple[str, str], Count], preset: str, stage: str, gmac: float
) -> None:
    assert rows[preset, stage].gmac == pytest.approx(gmac, rel=0.02)


@pytest.mark.parametrize(("size_px", "gmac"), [((224, 224), 12.8), ((192, 128), 6.3)])
def test_smaller_frames_cost_less(size_px: tuple[int, int], gmac: float) -> None:
    flow = all_presets(size_px)[0].stages[0]
    macs = multiply_accumulates(flow.network, flow.inputs)
    assert macs / 1e9 == pytest.approx(gmac, rel=0.02)


@pytest.mark.parametrize(
    ("preset", "millions"), [("deg_f", 24.5), ("deg_m", 95.2), ("deg_s", 127.6)]
)
def test_presets_have_the_parameters_of_table_2(
    rows: dict[tuple[str, str], Count], preset: str, millions: float
) -> None:
    assert rows[preset, "total"].paper_parameters == millions
    assert rows[preset, "total"].parameters / 1e6 == pytest.approx(millions, rel=0.002)


def test_layers_are_counted_as_one_counts_them_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
        nn.ConvTranspose2d(8, 4, 4, 2, 1),
        nn.Flatten(),
        nn.Linear(4 * 16 * 16, 5),
    )
    macs = 8 * 8 * 8 * 3 * 9 + 8 * 8 * 8 * 2 * 9 + 8 * 8 * 8 * 4 * 16 + 4 * 16 * 16 * 5
    assert multiply_accumulates(network, [torch.zeros(1, 3, 16, 16)]) == macs


def test_a_call_for_many_frames_is_shared_among_them() -> None:
    stage = Stage("sequence", nn.Linear(1000, 1000), (torch.zeros(10, 1000),), frames=10)
    row, total = counts([Preset("one", (stage,))])
    assert row.gmac == 1e-3
    assert (total.stage, total.gmac, total.parameters) == ("total", 1e-3, 1_001_000)


def test_the_command_prints_a_line_per_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command() == 0
    lines = capsys.readouterr().out.splitlines()
    flow = next(line for line in lines if "TinyMotionNet " in line)
    assert flow.split() == [
        "deg_f", "flow", "TinyMotionNet", "1,951,784", "1.9", "M", "16.699", "16.70"
    ]  # fmt: skip


def test_hand_counts_are_shown_for_their_own_size_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("--size", "192x128") == 0
    assert "16.70" not in capsys.readouterr().out


def test_the_command_writes_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("--json", "--size", "64x32") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["size_px"] == [64, 32]
    assert [row["preset"] for row in answer["stages"] if row["stage"] == "total"] == [
        "deg_f",
        "deg_m",
        "deg_s",
        "realtime",
    ]


@pytest.mark.parametrize(
    ("size", "remedy"),
    [
        ("256", "give WIDTHxHEIGHT"),
        ("axb", "give WIDTHxHEIGHT"),
        ("250x256", "multiples of 8"),
        ("0x8", "multiples of 8"),
    ],
)
def test_a_size_that_no_network_takes_is_refused(
    size: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_command("--size", size)
    assert remedy in capsys.readouterr().err


def test_realtime_needs_at_most_a_tenth_of_the_fast_preset() -> None:
    totals = {
        row.preset: row.gmac for row in counts(all_presets((256, 256))) if row.stage == "total"
    }
    assert totals["realtime"] <= totals["deg_f"] / 10
