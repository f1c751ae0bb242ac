from pathlib import Path

import h5py
import numpy as np
import pytest

from service.errors import InvalidRequest
from service.results import (
    AnsweredBehavior,
    AnsweredBundle,
    Provenance,
    RequestOptions,
    VideoResults,
    VideoSource,
)
from service.results.parquet import write_record
from service.values import BehaviorColumns, BehaviorStatus, BundleVersion, VideoInfo
from tests.training.behavior_projects.conftest import FRAMES, on, read_table, write_table
from training.behavior_projects.label_import import (
    finalize_labels,
    import_labels,
    labels_from_predictions,
)
from training.data.deepethogram import read_deepethogram
from training.data.labels import InvalidLabels

BORIS = (
    "Observation id,Media file,FPS,Subject,Behavior,Behavior type,Start (s),Stop (s)\n"
    "one,/videos/b.mkv,10.0,rat,sprint,STATE,0.3,0.6\n"
)


def labels_of(project: Path, name: str) -> dict[str, list[int]]:
    return read_table(project / "DATA" / name / f"{name}_labels.csv")


def backups(project: Path) -> list[Path]:
    return sorted((project / "label-backups").rglob("*_labels.csv"))


def test_none_is_background_and_columns_come_in_the_projects_order(
    project: Path, tmp_path: Path
) -> None:
    source = write_table(
        tmp_path / "b_labels.csv", {"none": [0] * 12, "rear": on((0, 2)), "run": on((1, 4))}
    )
    [written] = import_labels(project, source)
    assert (written.video, written.labelled, written.changed) == ("b", 12, 12)
    table = labels_of(project, "b")
    assert list(table) == ["background", "run", "rear"]
    assert table["run"] == on((1, 4))
    assert table["background"] == on((4, 12))
    assert not backups(project)


@pytest.mark.parametrize("first", ["frame,", ""])
def test_a_table_with_or_without_a_frame_column_is_read(
    project: Path, tmp_path: Path, first: str
) -> None:
    source = tmp_path / "anyone.csv"
    rows = [f"{frame + 1},{int(frame < 3)},0" for frame in range(FRAMES)]  # counted from 1
    lines = [f"{first}run,rear", *(row if first else row.split(",", 1)[1] for row in rows)]
    source.write_text("\n".join(lines))
    import_labels(project, source, video="b")
    assert labels_of(project, "b")["run"] == on((0, 3))


def test_frames_that_do_not_follow_are_refused(project: Path, tmp_path: Path) -> None:
    source = tmp_path / "b.csv"
    source.write_text("frame,run,rear\n0,0,0\n2,0,0\n")
    with pytest.raises(InvalidLabels, match="counts frame 2 in row 1"):
        import_labels(project, source)


def test_labels_that_do_not_fit_are_refused(project: Path, tmp_path: Path) -> None:
    source = write_table(tmp_path / "b.csv", {"run": on(frames=9), "rear": on(frames=9)})
    with pytest.raises(InvalidLabels, match=r"has 9 rows, but .* has 12 frames"):
        import_labels(project, source)
    with pytest.raises(InvalidLabels, match="has no video other"):
        import_labels(project, source, video="other")
    source = write_table(tmp_path / "b.csv", {"run": on(), "jump": on()})
    with pytest.raises(InvalidLabels, match="jump is unknown"):
        import_labels(project, source)
    import_labels(project, source, rename={"jump": "rear"})


def test_what_is_missing_is_absent_or_not_labelled_as_told(project: Path, tmp_path: Path) -> None:
    source = write_table(tmp_path / "b.csv", {"run": on((0, 3))})
    with pytest.raises(InvalidLabels, match="rear is missing"):
        import_labels(project, source)
    import_labels(project, source, missing="absent")
    assert labels_of(project, "b")["rear"] == [0] * 12
    [written] = import_labels(project, source, missing="unlabelled", replace=True)
    assert labels_of(project, "b")["rear"] == [-1] * 12
    assert (written.labelled, written.changed) == (0, 12)


def test_labels_that_are_there_are_replaced_only_when_asked_and_kept_in_the_backup(
    project: Path, tmp_path: Path
) -> None:
    source = write_table(tmp_path / "a.csv", {"run": on((0, 3)), "rear": on()})
    before = (project / "DATA" / "a" / "a_labels.csv").read_text()
    with pytest.raises(InvalidRequest, match="give --replace"):
        import_labels(project, source)
    assert (project / "DATA" / "a" / "a_labels.csv").read_text() == before
    import_labels(project, source, replace=True)
    assert [one.read_text() for one in backups(project)] == [before]


def test_h5_labels_are_imported_turned_or_not(project: Path, tmp_path: Path) -> None:
    values = np.column_stack([on((3, 12)), on((0, 3)), on()])
    for name, stored in (("labels", values), ("scores", values.T)):
        source = tmp_path / "b_labels.h5"
        with h5py.File(source, "w") as file:
            file[name] = stored
        import_labels(project, source, replace=True)
        assert labels_of(project, "b")["run"] == on((0, 3))


def test_boris_events_are_imported_by_the_name_of_their_media(
    project: Path, tmp_path: Path
) -> None:
    source = tmp_path / "events.csv"
    source.write_text(BORIS)
    with pytest.raises(InvalidLabels, match="unknown behavior 'sprint' in row 2"):
        import_labels(project, source)
    import_labels(project, source, rename={"sprint": "run"})
    assert labels_of(project, "b")["run"] == on((3, 6))
    assert labels_of(project, "b")["rear"] == [0] * 12


def test_finalizing_makes_the_rest_background(project: Path) -> None:
    [written] = finalize_labels(project)
    assert (written.video, written.labelled, written.changed) == ("a", 12, 2)
    assert labels_of(project, "a")["background"][-2:] == [1, 1]
    assert len(backups(project)) == 1
    with pytest.raises(InvalidLabels, match="b has no labels"):
        finalize_labels(project, ["b"])


def test_a_video_without_any_label_is_finalized_only_by_name(project: Path) -> None:
    write_table(project / "DATA" / "b" / "b_labels.csv", {"run": [-1] * 12, "rear": [-1] * 12})
    assert [one.video for one in finalize_labels(project)] == ["a"]
    finalize_labels(project, ["b"])
    assert labels_of(project, "b")["background"] == [1] * 12


def test_predictions_fill_what_is_not_labelled_and_replace_when_asked(
    project: Path, tmp_path: Path
) -> None:
    columns = {"background": on(), "run": [1] * 12, "rear": on()}
    source = write_table(tmp_path / "a_predictions.csv", columns)
    [written] = labels_from_predictions(project, [source])
    assert written.changed == 2
    assert labels_of(project, "a")["run"] == on((2, 5), (10, 12))
    labels_from_predictions(project, [source], replace=True)
    assert labels_of(project, "a")["run"] == [1] * 12
    assert len(backups(project)) == 2


def results_of(video: str, *bundles: str, frames: int = FRAMES) -> VideoResults:
    behavior = AnsweredBehavior(
        behaviors=("run", "rear"), exclusive=False, thresholds=(0.5, 0.5), min_bout_frames=(1, 1)
    )
    answered = tuple(
        AnsweredBundle(
            name=name,
            version=1,
            manifest_sha256="b" * 64,
            engine="fake:cpu",
            precision="fp32",
            behavior=behavior,
        )
        for name in bundles
    )
    status = np.full(frames, BehaviorStatus.OK, np.uint8)
    status[0] = BehaviorStatus.NO_CONTEXT
    values = np.column_stack([on((3, 6), frames=frames), on(frames=frames)]).astype(np.float32)
    values[0] = np.nan
    return VideoResults(
        provenance=Provenance(
            ethostream="0",
            source=VideoSource(name=video, size_bytes=1, modified_ns=1, sha256="c" * 64),
            info=VideoInfo(48, 32, 10.0, frames, "ffv1", "pyav"),
            bundles=answered,
            options=RequestOptions(),
        ),
        frame_index=np.arange(frames),
        pts_ns=np.arange(frames) * 100_000_000,
        status=np.zeros(frames, np.uint8),
        poses=(),
        behaviors=tuple(
            BehaviorColumns(BundleVersion(name, 1), status, values, values > 0.5)
            for name in bundles
        ),
    )


def test_stored_results_become_labels_but_for_frames_without_an_answer(
    project: Path, tmp_path: Path
) -> None:
    path = tmp_path / "night 4.parquet"
    write_record(results_of("b.mkv", "activity"), path)
    [written] = labels_from_predictions(project, [path])
    assert (written.video, written.labelled) == ("b", 11)
    assert labels_of(project, "b")["run"] == [-1, *on((3, 6))[1:]]
    assert read_deepethogram(project).video("b").labels is not None


def test_results_that_do_not_fit_are_refused(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    write_record(results_of("b.mkv", "one", "two"), path)
    with pytest.raises(InvalidRequest, match="behavior answers of one@1, two@1"):
        labels_from_predictions(project, [path])
    labels_from_predictions(project, [path], bundle="two")
    write_record(results_of("b.mkv", "one", frames=14), path)
    with pytest.raises(InvalidLabels, match="has frame 13, but b has 12 frames"):
        labels_from_predictions(project, [path])
