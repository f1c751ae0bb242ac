"""Archive jobs of real servers: every file accounted for, whatever befalls."""

import os
import shutil
import signal
from pathlib import Path

import ethostream
import pytest
from ethostream import errors

from clients.testdata.record import MODELS, POSE
from tests.e2e.archives import EXACT, settled, wait_until, watch_to_the_end, write_clip
from tests.service.video.corpus import write_video

LONG_FRAMES = 150_000
"""So many that a server is in work at them still when the test comes to stop it."""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    for number, name in enumerate(("a.mp4", "day/b.mp4")):
        write_clip(root / "mixed" / name, seed=number)
    shutil.copy(root / "mixed" / "a.mp4", root / "mixed" / "z-copy.mp4")
    (root / "mixed" / "empty.mp4").touch()
    (root / "mixed" / "damaged.avi").write_bytes(os.urandom(5000))
    (root / "mixed" / "notes.txt").write_text("rat 7 escaped")
    part = write_video(
        root / "part.h264", frames=250, size=(64, 48), options={"bf": "0"}, format="h264"
    )
    (root / "long.h264").write_bytes(LONG_FRAMES // 250 * part.read_bytes())
    part.unlink()
    for number in range(6):
        write_clip(root / "six" / f"{number}.mp4", seed=10 + number)
    return root


@pytest.fixture(scope="module")
def start(start_server, root, tmp_path_factory):
    """Starts servers that share one folder of jobs."""
    jobs, results = tmp_path_factory.mktemp("jobs"), tmp_path_factory.mktemp("results")

    def start(*arguments: str):
        return start_server(
            *EXACT, "--root", str(root), "--jobs", str(jobs), "--results", str(results),
            *arguments, models=MODELS,
        )  # fmt: skip

    return start


@pytest.fixture(scope="module")
def server(start):
    return start()


@pytest.fixture
def jobs(server):
    with ethostream.Client(server.address) as client:
        yield client.jobs


def test_every_file_of_a_folder_is_analyzed_or_named_with_its_reason(server, jobs, root):
    submitted = jobs.submit(
        "mixed", bundles=POSE, formats=["dlc-csv"], report=True, title="a <week>", priority=-2
    )
    assert (submitted.title, submitted.priority) == ("a <week>", -2)
    assert [str(one) for one in submitted.bundles] == [f"{POSE}@1"]
    job = watch_to_the_end(server.address, submitted.job_id)[-1]
    assert job.state == "failed"
    assert job.is_over
    assert (job.videos, job.videos_done, job.videos_failed, job.frames) == (4, 2, 2, 80)
    assert job.progress == 1.0
    by_name = {Path(one.path).name: one for one in job.listed}
    assert {name: one.state for name, one in by_name.items()} == {
        "a.mp4": "done",
        "b.mp4": "done",
        "empty.mp4": "failed",
        "damaged.avi": "failed",
    }
    assert "empty" in by_name["empty.mp4"].message
    assert "damaged.avi" in by_name["damaged.avi"].message
    reasons = {Path(one.path).name: one.reason for one in job.left_out}
    assert "same bytes" in reasons.pop("z-copy.mp4")
    assert reasons == {"notes.txt": "its ending .txt is none of a video"}
    for name in ("a.mp4", "b.mp4"):
        assert by_name[name].files[0].endswith(".parquet")
        assert all(Path(file).exists() for file in by_name[name].files)
    assert Path(by_name["b.mp4"].files[0]).parent.name == "day"
    page = Path(job.report).read_text()
    for words in ("a &lt;week&gt;", "empty.mp4", "damaged.avi", "notes.txt", "same bytes"):
        assert words in page

    listed = next(one for one in jobs.list() if one.job_id == job.job_id)
    assert (listed.state, listed.listed, listed.left_out) == ("failed", (), ())

    shutil.copy(root / "six" / "0.mp4", root / "mixed" / "empty.mp4")
    shutil.copy(root / "six" / "1.mp4", root / "mixed" / "damaged.avi")
    assert jobs.retry(job.job_id).state == "running"
    again = watch_to_the_end(server.address, job.job_id)[-1]
    assert (again.state, again.videos_done, again.frames) == ("done", 4, 160)
    names = [name for name, _ in settled(server.log)]
    assert sorted(names) == sorted([*by_name, "empty.mp4", "damaged.avi"])
    with pytest.raises(errors.InvalidRequest, match="nothing to retry"):
        jobs.retry(job.job_id)


def test_what_cannot_be_is_refused_with_what_to_do(jobs, root, tmp_path):
    for request, kind, words in (
        ({"paths": "/etc"}, errors.PermissionDenied, "'/etc' names leads outside"),
        ({"paths": "../secret"}, errors.PermissionDenied, "leads outside"),
        ({"paths": "gone.mp4"}, errors.NotFound, "nothing is at 'gone.mp4'"),
        ({"bundles": "unicorn"}, errors.NotFound, "no bundle 'unicorn'"),
        ({"bundles": []}, errors.InvalidRequest, "names no bundle"),
        ({"paths": []}, errors.InvalidRequest, "names no path"),
        ({"formats": ["xlsx"]}, errors.InvalidRequest, "xlsx"),
        ({"out": str(tmp_path)}, errors.PermissionDenied, "results cannot go to"),
        ({"beside_videos": True}, errors.PermissionDenied, "leads outside"),
        ({"out": "x", "beside_videos": True}, errors.InvalidRequest, "leave one out"),
        ({"frame_limit": -1}, errors.InvalidRequest, "0 or more"),
        ({"priority": 2**31}, errors.InvalidRequest, "32 bits"),
    ):
        (root / "../secret").resolve().touch()
        with pytest.raises(kind, match=words):
            jobs.submit(**{"paths": "six", "bundles": POSE, **request})
    for ask in (jobs.get, jobs.cancel, jobs.retry, lambda name: list(jobs.watch(name))):
        with pytest.raises(errors.NotFound, match="no job '20260101-000000-abcdef'"):
            ask("20260101-000000-abcdef")


def test_jobs_need_their_scope_and_a_folder(start_server, tmp_path):
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(
        '[rig]\ntoken = "rig-token-0123456789"\nscopes = ["infer", "models"]\n'
        '[clerk]\ntoken = "clerk-token-0123456789"\nscopes = ["jobs"]\n'
    )
    bare = start_server("--token-file", str(tokens), models=MODELS)
    for token, kind, words in (
        (None, errors.Unauthenticated, "needs a token"),
        ("rig-token-0123456789", errors.PermissionDenied, "needs jobs"),
        ("clerk-token-0123456789", errors.FailedPrecondition, "--jobs DIR"),
    ):
        with ethostream.Client(bare.address, token=token) as client:
            with pytest.raises(kind, match=words):
                client.jobs.list()
            with pytest.raises(kind, match=words):
                list(client.jobs.watch("x"))


def test_a_job_can_be_cancelled_while_it_runs_and_taken_up_again(server, jobs):
    job_id = jobs.submit("long.h264", bundles=POSE, formats=["dlc-csv"], out="cancelled").job_id
    assert not next(jobs.watch(job_id)).is_over
    wait_until(lambda: jobs.get(job_id).frames)
    with pytest.raises(errors.InvalidRequest, match="not over yet"):
        jobs.retry(job_id)
    jobs.cancel(job_id)
    job = watch_to_the_end(server.address, job_id)[-1]
    assert job.state == "cancelled"
    assert job.listed[0].state == "cancelled"
    assert job.frames < LONG_FRAMES
    assert jobs.retry(job_id).state in ("queued", "running")
    assert watch_to_the_end(server.address, job_id)[-1].frames == LONG_FRAMES


def test_two_servers_share_the_videos_of_a_job(server, start, jobs):
    other = start()
    before = len(settled(server.log, other.log))
    job_id = jobs.submit("six", bundles=POSE, formats=["dlc-csv"], out="shared").job_id
    for address in (server.address, other.address):
        job = watch_to_the_end(address, job_id)[-1]
        assert [one.state for one in job.listed] == ["done"] * 6
    names = sorted(name for name, _ in settled(server.log, other.log)[before:])
    assert names == [f"{number}.mp4" for number in range(6)]
    assert other.stop() == 0


def test_a_new_server_goes_on_inside_the_video_and_who_watches_sees_it(start, root, tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text("[server]\ndrain_seconds = 0.1\n")  # else the video may be done in it
    first = start("--config", str(settings), "--jobs", str(tmp_path))
    with ethostream.Client(first.address) as client:
        job_id = client.jobs.submit("long.h264", bundles=POSE, formats=["dlc-csv"]).job_id
        updates = client.jobs.watch(job_id, reconnect_seconds=300)
        chunks = tmp_path / job_id / "results" / ".ethostream" / "long" / "chunks"
        next(updates)
        wait_until(lambda: list(chunks.glob("*.chunk")))
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(120) == 0
        second = start("--jobs", str(tmp_path), "--listen", first.address)
        assert second.address == first.address
        job = list(updates)[-1]
    assert (job.state, job.frames) == ("done", LONG_FRAMES)
    assert 0 < job.listed[0].resumed_frames < LONG_FRAMES
    assert not list(chunks.glob("*"))
    assert second.stop() == 0
