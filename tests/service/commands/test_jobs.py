"""`ethostream jobs` on a folder of jobs, without a server."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from ethostream import Job, JobVideo, LeftOutFile
from ethostream.commands import main
from rich.console import Console

from clients.testdata.record import MODELS, POSE
from service.commands._job_views import describe, draw_job, duration, with_speed
from tests.e2e.archives import EXACT, settled, write_clip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number, name in enumerate(("a.mp4", "b.mp4", "late/c[1].mp4")):
        write_clip(tmp_path / "videos" / name, seed=number)
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no video at all")
    (tmp_path / "videos" / "notes.txt").write_text("rat 7 escaped")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]):
    def call(action: str, *arguments: str) -> tuple[int, str, str]:
        status = main(["jobs", action, *arguments, "--jobs", "jobs"])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def submit(call, *arguments: str) -> dict:
    status, out, err = call(
        "submit", *arguments, "--model", POSE, "--models", str(MODELS), "--format", "dlc-csv",
        "--json",
    )  # fmt: skip
    assert status == 0, err
    job: dict = json.loads(out)
    return job


def test_jobs_of_a_folder_are_done_by_urgency_and_told(folder: Path, call) -> None:
    usual = submit(call, "videos/[ab].mp4", "videos/bad.mp4", "--title", "usual")
    urgent = submit(call, "videos/late/c[1].mp4", "--priority", "3", "--out", "here")
    everything = submit(call, "videos", "--beside-videos", "--report")
    assert (usual["state"], usual["videos"], usual["priority"]) == ("queued", 3, 0)
    assert [Path(one["path"]).name for one in everything["left_out"]] == ["notes.txt"]
    assert call("cancel", everything["job_id"])[0] == 0

    run = ("--models", str(MODELS), *EXACT, "--parallel", "1", "--until-done")
    status, _, log = call("run", *run)
    assert status == 1  # a video failed
    (folder / "log").write_text(log)
    told = settled(folder / "log")
    assert [name for name, state in told if state == "done"] == ["c[1].mp4", "a.mp4", "b.mp4"]
    assert ("bad.mp4", "failed") in told
    assert (folder / "here" / "c[1].parquet").exists()
    assert (folder / "jobs" / usual["job_id"] / "results" / "a.parquet").exists()

    _, out, _ = call("list", "--json")
    states = {one["job_id"]: one["state"] for one in json.loads(out)}
    assert states == {
        everything["job_id"]: "cancelled",
        urgent["job_id"]: "done",
        usual["job_id"]: "failed",
    }
    _, out, _ = call("list")
    assert "usual" in out
    assert usual["job_id"] in out
    assert "2 / 1 / 3" in out

    status, out, _ = call("watch", usual["job_id"])
    assert status == 1
    assert "failed 100.0%, 2 of 3 videos done, 1 failed" in out
    assert f"{folder}/videos/bad.mp4: FAILED:" in out
    status, out, _ = call("watch", urgent["job_id"], "--json")
    assert status == 0
    assert json.loads(out)["listed"][0]["frames"] == 40
    status, out, _ = call("show", everything["job_id"])
    assert "left out" in out
    assert "cancelled" in out

    shutil.copy(folder / "videos" / "a.mp4", folder / "videos" / "bad.mp4")
    assert call("retry", usual["job_id"])[0] == 0
    status, _, log = call("run", *run)
    assert status == 0
    (folder / "log").write_text(log)
    assert settled(folder / "log") == [("bad.mp4", "done")]
    assert call("watch", usual["job_id"])[0] == 0


@pytest.mark.parametrize(
    ("action", "arguments", "words"),
    [
        ("submit", ("gone.mp4", "--model", POSE), "nothing is at"),
        ("submit", ("videos", "--model", "unicorn"), "no bundle 'unicorn'"),
        ("submit", ("videos", "--model", POSE, "--crop", "1,2"), "X,Y,W,H"),
        ("show", ("20260101-000000-abcdef",), "no job '20260101-000000-abcdef'"),
        ("cancel", ("../jobs",), "no job '../jobs'"),
        ("watch", ("x",), "no job 'x'"),
        ("retry", ("x",), "no job 'x'"),
    ],
)
def test_what_cannot_be_is_told(
    call, folder: Path, action: str, arguments: tuple[str, ...], words: str
) -> None:
    (folder / "jobs").mkdir()
    more = ("--models", str(MODELS)) if action == "submit" else ()
    status, _, err = call(action, *arguments, *more)
    assert status == 1
    assert words in err


def test_paths_may_lead_upwards_from_here(
    folder: Path, call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "videos" / "link.mp4").symlink_to(folder / "videos" / "a.mp4")
    monkeypatch.chdir(folder / "videos" / "late")
    job = submit(call, "../../videos/link.mp4", "../b.*", "--out", "../../here")
    assert [Path(one["path"]).name for one in job["listed"]] == ["link.mp4", "b.mp4"]


def test_an_empty_folder_has_no_work(call, folder: Path) -> None:
    (folder / "jobs").mkdir()
    assert call("run", "--models", str(MODELS), "--until-done")[0] == 0
    assert call("list", "--json")[:2] == (0, "[]\n")


VIDEO = JobVideo("/data/[a].mp4", "running", 50, 200, 0.0, "", "", (), 0, 75.0)
JOB = Job(
    *("id", "[b]week[/b]", "running", 0, (), (), (), 0),
    *(9, 5, 1, 1500, 0.0, 0.25, 3725.0, ""),
    *((VIDEO,), (LeftOutFile("notes.txt", "none of a video"),)),
)


def test_the_live_view_shows_all_and_each_video_in_work() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(draw_job(JOB))
    text = console.export_text()
    for words in ("[b]week[/b]", "25.0%", "1:02:05 left", "[a].mp4", "50/200 frames", "0:01:15"):
        assert words in text
    assert "5 done, 1 in work, 2 waiting, 1 failed, 1,500 frames" in text
    assert describe(JOB).startswith("running 25.0%, 5 of 9 videos done, 1 failed, 1,500 frames, ")
    assert (duration(0), duration(59.6), duration(36000)) == ("", "0:01:00", "10:00:00")


async def test_the_speed_counts_what_all_servers_do() -> None:
    async def updates():
        for frames in (1500, 1600):
            yield replace(JOB, frames=frames)

    first, second = [one async for one in with_speed(updates())]
    assert first.frames_per_second == 0
    assert second.frames_per_second > 0


@pytest.mark.parametrize("action", [("run", "--until-done"), ("list",), ("show", "1")])
def test_a_folder_of_jobs_that_is_not_there_is_told(call, action: tuple[str, ...]) -> None:
    status, _, said = call(*action)
    assert status == 1
    assert "there is no folder of jobs at" in said
