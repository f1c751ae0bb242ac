"""Behavior as frame by behavior tables, laid out as DeepEthogram's label files.

The first column is the frame number. `<video>_probabilities.csv` holds probabilities, empty where
the bundle has no answer. `<video>_predictions.csv` holds 1 and 0 after the bout rule, with
`background` (none of the others) first, and -1 where the bundle has no answer. Where several
behavior bundles answered, the bundle's name stands after the video's.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from service.behavior import with_background
from service.results.atomic import replacing
from service.results.provenance import AnsweredBundle
from service.results.video_results import VideoResults, kept_bouts, known_frames
from service.values import BehaviorColumns


def behavior_path(
    out: Path, stem: str, bundle: AnsweredBundle, content: str, *, several: bool
) -> Path:
    """Path of one table; content is `probabilities` or `predictions`."""
    return out / f"{stem}{f'_{bundle.name}_v{bundle.version}' if several else ''}_{content}.csv"


def write_behavior(results: VideoResults, out: Path, stem: str) -> None:
    """Write both tables of every behavior bundle."""
    answers = results.behavior_answers()
    for bundle, found in answers:
        for content, table in (
            ("probabilities", probability_table(results, bundle, found)),
            ("predictions", prediction_table(results, bundle, found)),
        ):
            path = behavior_path(out, stem, bundle, content, several=len(answers) > 1)
            with replacing(path) as unfinished:
                table.to_csv(unfinished, float_format="%.9g")


def probability_table(
    results: VideoResults, bundle: AnsweredBundle, found: BehaviorColumns
) -> pd.DataFrame:
    """Return (T, C) probabilities, indexed by frame number."""
    assert bundle.behavior is not None
    return pd.DataFrame(
        found.probabilities,
        index=pd.Index(results.frame_index),
        columns=list(bundle.behavior.behaviors),
    )


def prediction_table(
    results: VideoResults, bundle: AnsweredBundle, found: BehaviorColumns
) -> pd.DataFrame:
    """Return (T, 1 + C) of 1, 0 and -1 with background first, indexed by frame number."""
    assert bundle.behavior is not None
    known = known_frames(found)
    kept = kept_bouts(bundle.behavior, found)
    shown, names = with_background(kept, bundle.behavior.behaviors, known)
    values = np.where(known[:, None], shown.astype(np.int8), np.int8(-1))
    return pd.DataFrame(values, index=pd.Index(results.frame_index), columns=list(names))
