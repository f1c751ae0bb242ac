import re
from pathlib import Path

import pytest

from training.data.boris import BorisVideo, boris_labels, is_boris, read_boris
from training.data.labels import InvalidLabels

AGGREGATED_8 = (
    "Observation id\tObservation date\tDescription\tObservation type\tSource\tTime offset (s)\t"
    "Coding duration\tMedia duration (s)\tFPS (frame/s)\tSubject\tBehavior\tBehavioral category\t"
    "Behavior type\tStart (s)\tStop (s)\tDuration (s)\tMedia file name\tImage index start\t"
    "Image index stop\tComment start\tComment stop\n"
    "one\t2024-01-15\t\tMEDIA\tplayer #1:C:\\v\\a.mp4\t0\t2\t2.0\t10.0\tA\trun\t\tSTATE\t0.2\t0.5\t"
    "0.3\tC:\\v\\a.mp4\t2\t5\t\t\n"
    "one\t2024-01-15\t\tMEDIA\tplayer #1:C:\\v\\a.mp4\t0\t2\t2.0\t10.0\tB\trear\t\tPOINT\t0.7\t"
    "0.7\tNA\tC:\\v\\a.mp4\t7\t7\t\t\n"
)
AGGREGATED_7 = (
    "Observation id,Observation date,Media file,Total length,FPS,Subject,Behavior,Modifiers,"
    "Behavior type,Start (s),Stop (s),Duration (s),Comment start,Comment stop\n"
    "one,2019-01-15,/data/a.mp4,2.0,10.0,A,run,,STATE,0.2,0.5,0.3,,\n"
    "one,2019-01-15,/data/a.mp4,2.0,10.0,B,rear,,POINT,0.7,0.7,0,,\n"
)
EVENTS_8 = (
    "Observation id,Observation type,Source,Media duration (s),FPS,Subject,Behavior,"
    "Behavioral category,Behavior type,Time,Media file name,Image index,Comment\n"
    "one,MEDIA,player #1:/data/a.mp4,2.0,10.0,A,run,,START,0.2,/data/a.mp4,2,\n"
    "one,MEDIA,player #1:/data/a.mp4,2.0,10.0,A,run,,STOP,0.5,/data/a.mp4,5,\n"
    "one,MEDIA,player #1:/data/a.mp4,2.0,10.0,B,rear,,POINT,0.7,/data/a.mp4,7,\n"
)
EVENTS_7 = (
    "Observation id,one,,,,,,,\n"
    "Media file(s),,,,,,,,\n"
    "Player #1,/data/a.mp4,,,,,,,\n"
    ",,,,,,,,\n"
    "Time,Media file path,Total length,FPS,Subject,Behavior,Behavioral category,Comment,Status\n"
    "0.2,/data/a.mp4,2.0,10.0,A,run,,,START\n"
    "0.5,/data/a.mp4,2.0,10.0,A,run,,,STOP\n"
    "0.7,/data/a.mp4,2.0,10.0,B,rear,,,POINT\n"
)


def write(folder: Path, text: str) -> Path:
    path = folder / f"events{'.tsv' if chr(9) in text else '.csv'}"
    path.write_text(text)
    return path


def read_one(folder: Path, text: str) -> BorisVideo:
    [video] = read_boris(write(folder, text))
    return video


@pytest.mark.parametrize("text", [AGGREGATED_8, AGGREGATED_7, EVENTS_8, EVENTS_7])
def test_exports_of_both_versions_give_the_same_labels(tmp_path: Path, text: str) -> None:
    video = read_one(tmp_path, text)
    assert is_boris(video.export)
    assert (video.media, video.frame_rate_hz) == ("a.mp4", 10.0)
    assert video.behaviors == ("run", "rear")
    labels = boris_labels(video, ("rear", "run"), frames=20, frame_rate_hz=10.0)
    assert labels[:, 1].nonzero()[0].tolist() == [2, 3, 4]
    assert labels[:, 0].nonzero()[0].tolist() == [7]


def test_semicolons_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(AGGREGATED_7.replace(",", ";"), encoding="utf-8-sig")
    assert read_boris(path)[0].behaviors == ("run", "rear")


def test_media_files_and_subjects_are_kept_apart(tmp_path: Path) -> None:
    path = write(tmp_path, AGGREGATED_7 + "two,,/data/b.mp4,2.0,10.0,A,run,,STATE,0,1,1,,\n")
    assert [video.media for video in read_boris(path)] == ["a.mp4", "b.mp4"]
    assert [video.behaviors for video in read_boris(path, "B")] == [("rear",)]
    with pytest.raises(InvalidLabels, match="no event of the subject 'C'; it has A, B"):
        read_boris(path, "C")


def test_image_indices_stand_for_missing_times(tmp_path: Path) -> None:
    text = EVENTS_8.replace(",0.2,", ",NA,").replace(",0.5,", ",NA,")
    labels = boris_labels(read_one(tmp_path, text), ("run", "rear"), frames=20, frame_rate_hz=10.0)
    assert labels[:, 0].nonzero()[0].tolist() == [2, 3, 4]


def test_background_events_are_left_out(tmp_path: Path) -> None:
    video = read_one(tmp_path, AGGREGATED_7.replace(",run,", ",none,"))
    assert video.behaviors == ("rear",)
    assert boris_labels(video, ("rear",), frames=20, frame_rate_hz=10.0).sum() == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (EVENTS_7.replace("0.5,/data/a.mp4,2.0,10.0,A,run,,,STOP\n", ""),
         "a start of run without a stop in row 6"),
        (EVENTS_7.replace("0.2,/data/a.mp4,2.0,10.0,A,run,,,START\n", ""),
         "a stop of run without a start in row 6"),
        (EVENTS_7.replace("STOP", "START"), "a second start of run after that in row 6 in row 7"),
        (EVENTS_7.replace("STOP", "HALT"), "'HALT' as the kind of event in row 7"),
        (EVENTS_7.replace("0.5,", "0.1,"), "a stop before its start in row 7"),
        (EVENTS_7.replace("0.5,", "soon,"), "'soon' as Time"),
        (EVENTS_7.replace("0.5,", ","), "no time in row 7"),
        (EVENTS_7.replace(",rear,", ",,"), "no behavior in row 8"),
        (AGGREGATED_7.replace("0.2,0.5", "0.5,0.2"), "a stop before its start in row 2"),
        (AGGREGATED_7.replace("0.2,0.5", "0.2,"), "no start or no stop in row 2"),
        (AGGREGATED_7.replace("/data/a.mp4", "LIVE", 1), "no media file in row 2"),
        (AGGREGATED_7.replace("/data/a.mp4", "/data/a.mp4|/data/b.mp4", 1),
         "several media files (a.mp4, b.mp4) in row 2"),
        ("a,b\n1,2\n", "has no line with the columns Behavior"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_told_with_its_row(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InvalidLabels, match=re.escape(complaint)) as caught:
        read_boris(path)
    assert str(path) in str(caught.value)


def test_events_that_do_not_fit_the_video_are_refused(tmp_path: Path) -> None:
    video = read_one(tmp_path, AGGREGATED_7)
    with pytest.raises(InvalidLabels, match="unknown behavior 'rear' in row 3"):
        boris_labels(video, ("run",), frames=20, frame_rate_hz=10.0)
    with pytest.raises(InvalidLabels, match=r"rear up to frame 7 in row 3, but a\.mp4 has 7 fr"):
        boris_labels(video, ("run", "rear"), frames=7, frame_rate_hz=10.0)
    with pytest.raises(InvalidLabels, match=r"states 10 frames/s .* the video has 25"):
        boris_labels(video, ("run", "rear"), frames=50, frame_rate_hz=25.0)


def test_a_bout_may_end_a_frame_beyond_the_last_one_but_not_two(tmp_path: Path) -> None:
    text = AGGREGATED_7.splitlines(keepends=True)
    video = read_one(tmp_path, text[0] + text[1])  # run from frame 2 to before frame 5
    labels = boris_labels(video, ("run",), frames=4, frame_rate_hz=10.0)
    assert labels[:, 0].tolist() == [0, 0, 1, 1]
    with pytest.raises(InvalidLabels, match="has 3 frames"):
        boris_labels(video, ("run",), frames=3, frame_rate_hz=10.0)


def test_other_tables_are_no_events(tmp_path: Path) -> None:
    path = tmp_path / "one_labels.csv"
    path.write_text(",background,run\n0,1,0\n")
    assert not is_boris(path)
    assert not is_boris(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    assert not is_boris(tmp_path / "binary.csv")


def test_the_time_offset_of_an_observation_is_taken_off(tmp_path: Path) -> None:
    later = AGGREGATED_8.replace("\t0\t2\t2.0\t", "\t100.5\t2\t2.0\t")
    later = later.replace("\t0.2\t0.5\t", "\t100.7\t101.0\t").replace(
        "\t0.7\t0.7\t", "\t101.2\t101.2\t"
    )
    older = EVENTS_7.replace("Observation id,one,,,", "Time offset (s),100.5,,,")
    for time_s in ("0.2", "0.5", "0.7"):
        older = older.replace(f"\n{time_s},", f"\n{float(time_s) + 100.5:.1f},")
    for text in (later, older):
        labels = boris_labels(
            read_one(tmp_path, text), ("run", "rear"), frames=20, frame_rate_hz=10.0
        )
        assert labels[:, 0].nonzero()[0].tolist() == [2, 3, 4]
        assert labels[:, 1].nonzero()[0].tolist() == [7]
    with pytest.raises(InvalidLabels, match=r"'0.2' as .*time offset 100.5 s\), which is before"):
        read_boris(write(tmp_path, later.replace("\t100.7\t", "\t0.2\t")))


SEQUENCE_8 = (
    "Observation id,Source,Media duration (s),FPS,Subject,Behavior,Behavior type,Start (s),"
    "Stop (s),Media file name\n"
    + "".join(
        f"one,player #1:/v/a.mp4;/v/b.mp4|player #2:/w/c.mp4,2.0;3.0|9.0,10.000;10.000|25.0,A,"
        f"{behavior},{kind},{start},{stop},/v/{media}.mp4\n"
        for behavior, kind, start, stop, media in (
            ("run", "STATE", 0.5, 0.8, "a"),
            ("run", "STATE", 1.8, 2.3, "a"),
            ("rear", "POINT", 2.0, 2.0, "b"),
            ("run", "STATE", 4.0, 4.2, "b"),
        )
    )
)


def test_files_that_follow_one_another_get_their_own_times(tmp_path: Path) -> None:
    first, second = read_boris(write(tmp_path, SEQUENCE_8))
    assert (first.media, second.media) == ("a.mp4", "b.mp4")
    labels = boris_labels(first, ("run", "rear"), frames=20, frame_rate_hz=10.0)
    assert labels[:, 0].nonzero()[0].tolist() == [5, 6, 7, 18, 19]
    assert not labels[:, 1].any()
    labels = boris_labels(second, ("run", "rear"), frames=30, frame_rate_hz=10.0)
    assert labels[:, 0].nonzero()[0].tolist() == [0, 1, 2, 20, 21]
    assert labels[:, 1].nonzero()[0].tolist() == [0]
    untold = SEQUENCE_8.replace("2.0;3.0|9.0", "")
    with pytest.raises(InvalidLabels, match=r"several media files \(a.mp4, b.mp4\)"):
        read_boris(write(tmp_path, untold))
    older = EVENTS_7.replace(
        "Player #1,/data/a.mp4,,,,,,,\n",
        "Player #1,/data/a.mp4,,,,,,,\nPlayer #1,/data/b.mp4,,,,,,,\n",
    )
    with pytest.raises(InvalidLabels, match=r"several media files \(a.mp4, b.mp4\)"):
        read_boris(write(tmp_path, older))


def test_comments_of_several_lines_and_other_signs_above_the_table_are_read(tmp_path: Path) -> None:
    text = EVENTS_7.replace("run,,,START", 'run,,"he ran;\n\nfast\x0b, too",START')
    text = text.replace(
        "Observation id,one", "Description,Behavior; day; one; more; of; it; all; is"
    )
    assert read_one(tmp_path, text).behaviors == ("run", "rear")
    with pytest.raises(InvalidLabels, match="'HALT' as the kind of event in row 10"):
        read_boris(write(tmp_path, text.replace("POINT", "HALT")))
