"""Chooses frames to label: at random, or one of each group of frames that look alike."""

import warnings
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from training.frames.extras import analysis_module
from training.frames.thumbnails import Thumbnails

_BATCH = 100
_MAX_ITERATIONS = 50
_TOLERANCE = 1e-3


def pick_uniform(
    candidates: Sequence[int], number: int, *, seed: int, taken: Collection[int] = ()
) -> list[int]:
    """Choose `number` of `candidates` at random, without replacement, in rising order.

    The choice begins the same for every number: a longer one only adds frames.

    Args:
        candidates: frame indices.
        number: how many; all candidates where there are fewer.
        seed: of the choice.
        taken: frames that are not chosen again.
    """
    free = np.setdiff1d(np.asarray(candidates, np.int64), _array(taken))
    order = np.random.default_rng(seed).permutation(free)
    return sorted(int(index) for index in order[:number])


def pick_kmeans(
    thumbnails: Thumbnails, number: int, *, seed: int, taken: Collection[int] = ()
) -> list[int]:
    """Choose one random frame of each group of frames that look alike, in rising order.

    The groups are those of k-means on the gray levels of small frames without their mean, as
    DeepLabCut picks frames (Nath et al., Nature Protocols 2019;14:2152, "k-means"): k-means of mini
    batches of 100 frames, at most 50 rounds, tolerance 1e-3. Frames that are taken already stand
    for their group: with T of them there are `number` + T groups, and groups that hold one are
    passed over. Groups that come out empty are made up for by random frames.

    Args:
        thumbnails: what the frames look like.
        number: how many; all frames where there are fewer.
        seed: of the groups and of the choice.
        taken: frames that are not chosen again.
    """
    random = np.random.default_rng(seed)
    index = thumbnails.frame_index
    free = ~np.isin(index, _array(taken))
    if free.sum() <= number:
        return [int(one) for one in index[free]]
    groups = _groups(thumbnails.pixels, min(number + len(taken), len(index)), seed)
    covered = {int(groups[_nearest(index, one)]) for one in taken}
    chosen = [
        int(random.choice(index[(groups == group) & free]))
        for group in range(int(groups.max()) + 1)
        if group not in covered and np.any((groups == group) & free)
    ]
    chosen = [int(one) for one in random.permutation(chosen)[:number]]
    rest = np.setdiff1d(index[free], _array(chosen))
    missing = number - len(chosen)
    return sorted([*chosen, *(int(one) for one in random.permutation(rest)[:missing])])


def _groups(pixels: NDArray[np.float32], count: int, seed: int) -> NDArray[np.int32]:
    """(F,) number of each frame's group."""
    cluster = analysis_module("sklearn.cluster", "method kmeans (uniform does without)")
    exceptions = analysis_module("sklearn.exceptions", "method kmeans")
    clusters = cluster.MiniBatchKMeans(
        n_clusters=count,
        batch_size=_BATCH,
        max_iter=_MAX_ITERATIONS,
        tol=_TOLERANCE,
        n_init=3,
        random_state=seed % 2**32,
    )
    with warnings.catch_warnings():
        # Frames that do not differ make fewer groups; that is no fault.
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        return np.asarray(clusters.fit_predict(pixels - pixels.mean(axis=0)), np.int32)


def _nearest(index: NDArray[np.int64], frame_index: int) -> int:
    return int(np.argmin(np.abs(index - frame_index)))


def _array(values: Collection[int]) -> NDArray[np.int64]:
    return np.fromiter(values, np.int64, len(values))
