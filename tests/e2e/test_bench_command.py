"""`ethostream bench` says where the time of a frame goes, against a real server."""

import json
import re
import sys

import pytest
from ethostream import commands

MODEL = ("--model", "openfield-mouse")


def bench(server, capsys, *arguments: str) -> tuple[int, str, str]:
    status = commands.main(["bench", "--server", server.address, *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_parts_of_a_frame_add_up(server, capsys):
    status, text, _ = bench(server, capsys, *MODEL, "--frames", "20", "--json")
    assert status == 0
    report = json.loads(text)
    assert (report["frames"], report["in_flight"], report["mean_batch"]) == (20, 1, 1.0)
    assert report["bundles"] == ["openfield-mouse@1"]
    assert report["frames_per_s"] > 0
    assert report["round_trip_p50_ms"] > report["server_p50_ms"] > report["engine_p50_ms"] > 0
    assert report["overhead_p50_ms"] > report["preprocess_p50_ms"] > 0
    assert report["transport_p50_ms"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="shared memory needs Linux")
def test_frames_may_go_through_shared_memory(server, capsys):
    status, text, _ = bench(server, capsys, *MODEL, "--frames", "5", "--json", "--shared-memory")
    report = json.loads(text)
    assert (status, report["frames"], report["shared_memory"]) == (0, 5, True)


def test_people_get_a_table(server, capsys):
    size = ("--size", "160x120", "--color", "rgb", "--in-flight", "3", "--frames", "10")
    status, text, _ = bench(server, capsys, *MODEL, *size)
    assert status == 0
    first, second, *rows = text.splitlines()
    assert first.startswith("openfield-mouse@1 (")
    assert "10 rgb frames of 160x120 px, 3 in flight" in second
    assert [row.split()[0] for row in rows[1:4]] == ["round", "transport", "server"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*MODEL, "--size", "big"), "--size is 'big'; give width x height"),
        ((*MODEL, "--size", "99999x99999"), "--size is 99999x99999, 9999800001 .* 67108864 bytes"),
        ((*MODEL, "--frames", "0"), "--frames is 0"),
        (("--model", "cat"), "cat"),
        ((*MODEL, "--size", "9000x16"), "frames failed; the first: .*limit of 4096x4096"),
    ],
)
def test_what_cannot_be_measured_is_told(server, capsys, arguments, message):
    status, _, error = bench(server, capsys, *arguments)
    assert status == 1
    assert re.search(message, error)
