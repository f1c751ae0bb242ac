"""The figures of a keypoint run on labelled recordings, those of any other behavior run."""

from collections.abc import Sequence

from service.bundle import BehaviorSpec
from training.behavior.figures import as_dict, measure
from training.behavior.figures.answers import Answers
from training.behavior.keypoints.data import PoseRecording
from training.behavior.keypoints.predict import KeypointClassifier
from training.behavior.keypoints.settings import KeypointTraining
from training.behavior.settings import Decisions


def evaluate_recordings(
    classifier: KeypointClassifier, recordings: Sequence[PoseRecording], decisions: Decisions
) -> dict[str, object]:
    """Compare predictions with labels, over all labelled frames of `recordings` together.

    Args:
        classifier: of the run.
        recordings: one or more.
        decisions: thresholds and shortest bouts of the run.

    Returns:
        The figures of `training.behavior.figures.as_dict`; only `frames`, 0, where none is both
        labelled and answered.
    """
    settings = classifier.settings
    answers = [
        Answers(one.name, classifier.probabilities(one.features, one.clips), one.labels, one.clips)
        for one in recordings
    ]
    if not any(one.known.any() for one in answers):
        return {"frames": 0}
    return as_dict(measure(answers, _spec(settings, decisions)))


def _spec(settings: KeypointTraining, decisions: Decisions) -> BehaviorSpec:
    """What the network answers; a pose counts as a flow, so that windows have the same words."""
    return BehaviorSpec(
        behaviors=settings.behaviors,
        exclusive=settings.exclusive,
        thresholds=decisions.thresholds,
        min_bout_frames=decisions.min_bout_frames,
        frame_rate_hz=settings.frame_rate_hz,
        flow_frames=settings.past_frames + settings.future_frames,
        past_frames=settings.past_frames,
        future_frames=settings.future_frames,
        sequence="none",
        feature_size=settings.feature_count,
        state_size=0,
    )
