"""Batches of any size are brought to the sizes that an engine was built for, and back."""

import numpy as np
import pytest

from service.engine.base import TensorSpec
from service.engine.rows import bucket_for, check_rows, joined, split_rows
from service.errors import EngineFailed

SPECS = (
    TensorSpec("frames", np.dtype(np.uint8), (None, 4, 6)),
    TensorSpec("flows", np.dtype(np.float32), (None, 2)),
)


def batch(rows: int) -> dict:
    frames = np.arange(rows * 24, dtype=np.uint8).reshape(rows, 4, 6)
    return {"frames": frames, "flows": np.zeros((rows, 2), np.float32)}


def test_a_batch_is_taken_by_the_smallest_bucket_that_holds_it():
    assert [bucket_for(rows, (1, 2, 4, 8)) for rows in range(1, 9)] == [1, 2, 4, 4, 8, 8, 8, 8]


def test_a_batch_that_is_too_large_is_cut_and_put_together_in_order():
    parts = list(split_rows(batch(10), 10, 4))
    assert [len(part["frames"]) for part in parts] == [4, 4, 2]
    whole = joined(parts)
    np.testing.assert_array_equal(whole["frames"], batch(10)["frames"])


def test_rows_of_a_batch_that_fits_are_counted():
    assert check_rows(batch(3), SPECS, "tensorrt:cuda") == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"frames": np.zeros((3, 4, 6), np.float32)},
        {"frames": np.zeros((3, 4, 5), np.uint8)},
        {"frames": np.zeros((3, 4), np.uint8)},
        {"flows": np.zeros((2, 2), np.float32)},
        {"frames": np.zeros((0, 4, 6), np.uint8), "flows": np.zeros((0, 2), np.float32)},
    ],
)
def test_a_batch_of_another_type_or_shape_is_refused_with_what_is_taken(changed):
    with pytest.raises(EngineFailed, match=r"takes \w+ as \w+ \(any, .*\) and was given"):
        check_rows({**batch(3), **changed}, SPECS, "tensorrt:cuda")


def test_inputs_of_other_names_are_refused():
    with pytest.raises(EngineFailed, match="takes the inputs frames, flows and was given frames"):
        check_rows({"frames": batch(1)["frames"]}, SPECS, "tensorrt:cuda")
