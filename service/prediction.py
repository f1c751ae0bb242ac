"""Says where the keypoints of a live stream will be, so that the way of a pose costs no time.

The filter is `service.tracks.kalman`; its docstring says what it gains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.bundle import PoseSpec
from service.errors import InvalidConfig, InvalidRequest
from service.repository import LoadedBundle
from service.tracks.kalman import KalmanFilter, KalmanSettings
from service.values import BundleVersion, Poses

_MAX_AHEAD_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How far ahead to look, and how keypoints move."""

    ahead_s: float
    """From the capture of a frame, in (0, 1] s."""
    measurement_sd_px: float | None = None
    """Standard deviation of a position at confidence 1; None takes that of `KalmanSettings`."""
    acceleration_sd_px_s2: float | None = None
    """Standard deviation of the acceleration along each axis; None takes that of
    `KalmanSettings`."""
    acceleration_time_s: float | None = None
    """Time in which the acceleration forgets itself; None takes that of `KalmanSettings`."""


class PosePredictor:
    """Follows the animal of one pose bundle in one stream."""

    def __init__(self, prediction: Prediction, key: BundleVersion, spec: PoseSpec) -> None:
        """Begin with nothing seen.

        Args:
            prediction: what to predict.
            key: of the bundle.
            spec: of the bundle.

        Raises:
            InvalidRequest: a number is out of range, or the bundle finds several animals, whose
                rows are not the same animals from frame to frame.
        """
        if not 0 < prediction.ahead_s <= _MAX_AHEAD_S:
            raise InvalidRequest(
                f"a prediction {prediction.ahead_s * 1e3:g} ms ahead is asked for; give more than "
                f"0 and {_MAX_AHEAD_S * 1e3:g} ms at most"
            )
        if spec.max_animals > 1:
            raise InvalidRequest(
                f"{key} finds {spec.max_animals} animals, which are not followed from frame to "
                "frame; a prediction needs a bundle of one animal"
            )
        given = {
            name: value
            for name in ("measurement_sd_px", "acceleration_sd_px_s2", "acceleration_time_s")
            if (value := getattr(prediction, name)) is not None
        }
        # A keypoint is not expected anywhere before it was found; no measurement has confidence 0.
        cutoff = max(spec.confidence_cutoff, 0.001)
        try:
            settings = replace(KalmanSettings(), confidence_cutoff=cutoff, **given)
        except InvalidConfig as error:
            raise InvalidRequest(f"prediction: {error}") from error
        self._ahead_s = prediction.ahead_s
        self._filter = KalmanFilter((spec.max_animals, len(spec.keypoints)), settings)
        self._last_s = float("-inf")

    def see(self, time_s: float, poses: Poses) -> Poses:
        """Return the poses of a frame with the places that are expected.

        A frame whose time does not rise tells nothing of motion, and gets none.

        Args:
            time_s: when the frame was captured.
            poses: what was found in it.
        """
        if time_s <= self._last_s:
            return poses
        self._last_s = time_s
        self._filter.update(time_s, poses.keypoints_xy, poses.confidence.astype("float64"))
        expected = self._filter.predict(self._ahead_s).astype("float32")
        return replace(poses, predicted_xy=expected)


def open_predictors(
    prediction: Prediction | None, bundles: Sequence[LoadedBundle]
) -> tuple[PosePredictor, ...] | None:
    """Return a predictor for each pose bundle of a stream; None where none is asked for.

    Raises:
        InvalidRequest: as of `PosePredictor`, or there is no pose bundle.
    """
    if prediction is None:
        return None
    if not bundles:
        raise InvalidRequest("a prediction is asked for, but no pose bundle; name one as well")
    return tuple(
        PosePredictor(prediction, one.key, spec)
        for one in bundles
        if (spec := one.bundle.manifest.pose) is not None
    )
