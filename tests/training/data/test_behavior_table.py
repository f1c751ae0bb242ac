from pathlib import Path

import h5py
import numpy as np
import pytest

from training.data.behavior_table import read_label_file, write_label_table
from training.data.labels import InvalidLabels

BEHAVIORS = ("background", "run", "rear")


def test_what_is_written_is_read_back_with_background_recomputed(tmp_path: Path) -> None:
    path = tmp_path / "one_labels.csv"
    labels = np.array([[0, 0], [1, 0], [-1, 1], [0, -1], [-1, -1]], np.int8)
    write_label_table(path, labels, ("run", "rear"))
    values, names = read_label_file(path)
    assert names == BEHAVIORS
    assert values[:, 1:].tolist() == labels.tolist()
    assert values[:, 0].tolist() == [1, 0, 0, -1, -1]
    assert path.read_text().startswith(",background,run,rear\n0,1,0,0\n")


def test_h5_labels_take_the_names_that_are_given(tmp_path: Path) -> None:
    path = tmp_path / "one_labels.h5"
    values = np.array([[1, 0, 0], [0, 1, -1]], np.float32)
    for dataset, stored, names in (
        ("scores", values, BEHAVIORS),
        ("labels", values[:, 1:], BEHAVIORS[1:]),
    ):
        with h5py.File(path, "w") as file:
            file[dataset] = stored
        found, found_names = read_label_file(path, BEHAVIORS)
        assert found_names == names
        assert found.tolist() == stored.tolist()


def test_h5_files_that_hold_no_labels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one_labels.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(InvalidLabels, match="is not a label file"):
        read_label_file(path, BEHAVIORS)
    for dataset, stored, complaint in (
        ("other", np.zeros((4, 3)), "has no dataset scores or labels"),
        ("labels", np.zeros((4, 5)), r"labels of shape \(4, 5\)"),
        ("labels", np.full((4, 3), np.nan), "'nan' in row 0 of background"),
    ):
        with h5py.File(path, "w") as file:
            file[dataset] = stored
        with pytest.raises(InvalidLabels, match=complaint):
            read_label_file(path, BEHAVIORS)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one_labels.csv"
    path.write_text(",none,background,run\n0,1,1,0\n")
    with pytest.raises(InvalidLabels, match="two columns of background"):
        read_label_file(path)


@pytest.mark.parametrize("counted", [(0, 1, 2), (1, 2, 3), (0.0, 0.04, 0.08), ("a", "b", "c")])
def test_a_first_column_counts_from_0_or_1_or_tells_times(
    tmp_path: Path, counted: tuple[object, ...]
) -> None:
    path = tmp_path / "one_labels.csv"
    rows = (f"{first},{value}\n" for first, value in zip(counted, (1, 0, -1), strict=True))
    path.write_text("frame,run\n" + "".join(rows))
    assert read_label_file(path)[0].tolist() == [[1], [0], [-1]]


@pytest.mark.parametrize(
    ("counted", "told"),
    [((0, 0, 1), "frame 0 in row 1"), ((0, 2, 3), "frame 2 in row 1"), ((2, 1, 0), "frame 2 in")],
)
def test_labels_whose_count_would_be_shifted_are_refused(
    tmp_path: Path, counted: tuple[int, ...], told: str
) -> None:
    path = tmp_path / "one_labels.csv"
    path.write_text("frame,run\n" + "".join(f"{first},1\n" for first in counted))
    with pytest.raises(InvalidLabels, match=f"counts {told}.*give every"):
        read_label_file(path)


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_tables_that_a_spreadsheet_saved_are_read(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "one_labels.csv"
    text = ", run ,rear\r\n0,1,0\r\n1,-1,0\r\n".replace(",", delimiter)
    path.write_text(text, encoding="utf-8-sig")
    values, names = read_label_file(path)
    assert names == ("run", "rear")
    assert values.tolist() == [[1, 0], [-1, 0]]
    path.write_text(text, encoding="utf-16")
    with pytest.raises(InvalidLabels, match=r"is not a label table: .*; save it as CSV in UTF-8"):
        read_label_file(path)
