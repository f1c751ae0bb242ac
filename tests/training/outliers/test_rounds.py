import json

import msgspec
import pytest

from service.errors import InvalidConfig, NotFound
from training.outliers.rounds import read_rounds, rounds_table
from training.runs import Split, create_run

TEST = ("v/img1.png", "v/img2.png")


def make_run(folder, name, *, training, error=None, parent=None, test=TEST):
    run = create_run(folder, name, "pose", {"parent": parent and str(parent), "epochs": 3})
    frames = tuple(f"v/t{number}.png" for number in range(training))
    run.write_split(Split(rule="r", seed=1, training=frames, validation=("v/v.png",), test=test))
    if error is not None:
        part = {"mean_error_px": error, "rmse_px": 2 * error, "per_keypoint": {}, "points": 8}
        run.evaluation.write_bytes(msgspec.json.encode({"training": part, "test": part}))
    return run.directory


def test_each_round_tells_its_gain_over_the_one_before(tmp_path):
    first = make_run(tmp_path, "first", training=80, error=6.5)
    second = make_run(tmp_path, "second", training=100, error=4.25, parent=first)
    third = make_run(tmp_path, "third", training=120, error=4.5, parent=second)
    rounds = read_rounds(third)
    assert [one.run for one in rounds] == [str(first), str(second), str(third)]
    assert [one.labelled_frames for one in rounds] == [83, 103, 123]
    assert [one.test_error_px for one in rounds] == [6.5, 4.25, 4.5]
    assert [one.test_rmse_px for one in rounds] == [13, 8.5, 9]
    assert [one.gain_px for one in rounds] == [None, 2.25, -0.25]
    assert all(one.same_test for one in rounds)
    table = rounds_table(rounds).splitlines()
    assert table[2] == "| 0 | first | 83 | 2 | 6.50 | - |"
    assert table[3] == "| 1 | second | 103 | 2 | 4.25 | +2.25 |"
    assert table[4] == "| 2 | third | 123 | 2 | 4.50 | -0.25 |"


def test_other_test_frames_and_missing_evaluations_are_told(tmp_path):
    first = make_run(tmp_path, "first", training=8, error=6.5)
    second = make_run(tmp_path, "second", training=9, parent=first)
    third = make_run(tmp_path, "third", training=9, error=5.0, parent=second, test=TEST[:1])
    rounds = read_rounds(third)
    assert [one.gain_px for one in rounds] == [None, None, None]
    assert [one.same_test for one in rounds] == [True, True, False]
    assert rounds_table(rounds).splitlines()[-1].endswith("| 5.00 | - (other test frames) |")


def test_runs_that_were_moved_together_still_find_each_other(tmp_path):
    (tmp_path / "old").mkdir()
    first = make_run(tmp_path / "old", "first", training=8, error=6.5)
    make_run(tmp_path / "old", "second", training=9, error=6.0, parent=first)
    (tmp_path / "old").rename(tmp_path / "new")
    assert [one.gain_px for one in read_rounds(tmp_path / "new" / "second")] == [None, 0.5]


def test_wrong_chains_are_refused(tmp_path):
    with pytest.raises(NotFound, match="name the folder of a training run"):
        read_rounds(tmp_path)
    lost = make_run(tmp_path, "lost", training=8, parent=tmp_path / "gone")
    with pytest.raises(NotFound, match=r"gone, the parent of .*lost, is not there any more"):
        read_rounds(lost)
    circle = make_run(tmp_path, "circle", training=8, parent=tmp_path / "circle")
    with pytest.raises(InvalidConfig, match="among its own parents"):
        read_rounds(circle)
    number = make_run(tmp_path, "number", training=8)
    (number / "config.json").write_text(json.dumps({"task": "pose", "config": {"parent": 3}}))
    with pytest.raises(InvalidConfig, match="it must be a path"):
        read_rounds(number)
    broken = make_run(tmp_path, "broken", training=8)
    (broken / "evaluation.json").write_text("{")
    with pytest.raises(InvalidConfig, match="evaluate the run again"):
        read_rounds(broken)
