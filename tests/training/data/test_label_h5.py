import pickle
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from training.data.label_h5 import PickledAxis, read_cells
from training.data.label_table import H5_KEY, read_table
from training.data.labels import InvalidLabels


def write(path: Path, *, kind: str, flat: bool = False) -> pd.DataFrame:
    columns = pd.MultiIndex.from_product(
        [["me"], ["snout", "tail"], ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    names = [("labeled-data", "v", f"img{one}.png") for one in range(3)]
    index = (
        pd.Index(["/".join(name) for name in names]) if flat else pd.MultiIndex.from_tuples(names)
    )
    values = np.random.default_rng(1).uniform(0, 9, (3, 4))
    values[1, 2:] = np.nan
    table = pd.DataFrame(values, index=index, columns=columns)
    table.to_hdf(path, key=H5_KEY, mode="w", format=kind)
    return table


@pytest.mark.parametrize(("kind", "flat"), [("fixed", False), ("fixed", True), ("table", True)])
def test_both_formats_of_pandas_are_read_exactly(tmp_path: Path, kind: str, flat: bool) -> None:
    path = tmp_path / "labels.h5"
    table = write(path, kind=kind, flat=flat)
    read = read_table(path)
    assert read.columns == (("", "snout"), ("", "tail"))
    assert [row.picture for row in read.rows] == [
        f"labeled-data/v/img{one}.png" for one in range(3)
    ]
    values = np.stack([row.values.ravel() for row in read.rows])
    assert np.array_equal(values, table.to_numpy(), equal_nan=True)


def test_a_damaged_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "labels.h5"
    write(path, kind="fixed")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InvalidLabels, match=r"labels.h5 is damaged .*restore it"):
        read_cells(path)


def test_a_pickle_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "labels.h5"
    write(path, kind="table", flat=True)
    with h5py.File(path, "r+") as file:
        file[H5_KEY].attrs["non_index_axes"] = np.bytes_(pickle.dumps(Trap(), protocol=0))
    with pytest.raises(PickledAxis, match="save the labels as CSV"):
        read_cells(path)
    assert not (tmp_path / "ran").exists()
