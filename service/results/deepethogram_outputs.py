"""Behavior as DeepEthogram's `<video>_outputs.h5`: one group a bundle, as its own models write one.

Each group holds `P` (T, K) probabilities, `logits` (T, K), `thresholds` (K), all float32, and
`class_names` (K), text. Row n is frame n, from 0; NaN where there is no answer. As in DeepEthogram,
`background` comes first; where a bundle has none, its probability is 1 - that of the most probable
behavior and its threshold 0.5 (DeepEthogram's tools compute its column from the others anyway).

Results hold probabilities, so that the logits are computed back: log(P / (1 - P)), or log(P) of
exclusive behaviors, whose softmax is the same without the common summand that cannot be known.
Their sigmoid (softmax) is P again; of the logits themselves float32 keeps less and less above 10
(to 0.001 there), and nothing above 16, where P is 1. Features are no results and are left out.
"""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from service.behavior import BACKGROUND
from service.results.atomic import replacing
from service.results.provenance import AnsweredBehavior
from service.results.rows import by_frame
from service.results.video_results import VideoResults

_MARK = "ethostream"
"""Attribute of the groups that were written here: the version of the program."""
_BACKGROUND_THRESHOLD = 0.5


def write_outputs(results: VideoResults, path: Path, home: Path | None = None) -> None:
    """Write the answers of all behavior bundles, each in the group `<bundle>_v<version>`.

    Groups of others in a file that is there already stay, such as those of DeepEthogram's models.

    Args:
        results: of one video.
        path: file to write, <video>_outputs.h5.
        home: folder that the file is moved to afterwards, and whose file of that name it replaces;
            None: it stays.
    """
    older_path = (home or path.parent) / path.name
    with replacing(path) as unfinished, h5py.File(unfinished, "w") as file:
        for bundle, found in results.behavior_answers():
            assert bundle.behavior is not None
            group = file.create_group(f"{bundle.name}_v{bundle.version}")
            group.attrs[_MARK] = results.provenance.ethostream
            probabilities, names, thresholds = _with_background(
                bundle.behavior, by_frame(found.probabilities, results.frame_index)
            )
            logits = _logits(probabilities, exclusive=bundle.behavior.exclusive)
            group.create_dataset("P", data=probabilities, compression="gzip", shuffle=True)
            group.create_dataset("logits", data=logits, compression="gzip", shuffle=True)
            group["thresholds"] = np.array(thresholds, np.float32)
            group.create_dataset("class_names", data=names, dtype=h5py.string_dtype())
        if older_path.exists():
            with h5py.File(older_path) as older:
                for name in older:
                    if name not in file and _MARK not in older[name].attrs:
                        older.copy(older[name], file, name)


def _with_background(
    answered: AnsweredBehavior, probabilities: NDArray[np.float32]
) -> tuple[NDArray[np.float32], list[str], list[float]]:
    names, thresholds = list(answered.behaviors), list(answered.thresholds)
    if names[0] == BACKGROUND:
        return probabilities, names, thresholds
    background = 1 - probabilities.max(axis=1, keepdims=True)
    return (
        np.concatenate([background, probabilities], axis=1),
        [BACKGROUND, *names],
        [_BACKGROUND_THRESHOLD, *thresholds],
    )


def _logits(probabilities: NDArray[np.float32], *, exclusive: bool) -> NDArray[np.float32]:
    """Return finite logits whose sigmoid (softmax where exclusive) gives `probabilities` back."""
    limits = np.finfo(np.float32)
    # What rounds to 0 or 1 in float32, but is neither.
    least, most = float(limits.tiny), 1 - float(limits.epsneg) / 2
    values = np.clip(probabilities.astype(np.float64), least, most)
    odds = values if exclusive else values / (1 - values)
    return np.log(odds).astype(np.float32)
