"""Crops each frame around the animal, where it was last seen, and takes all where it is lost.

A graph has a fixed input size, so a crop saves no computing: it gives the animal more px of the
input, which helps where a large frame makes it small. DeepLabCut crops in the same way, to the box
of the points of the frame before and a margin. Positions here are always px of the frame as sent,
whether a crop was asked for besides or not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle import InputSpec, Manifest
from service.errors import InvalidRequest
from service.preprocess import CropRegion
from service.values import Poses

_MIN_KEYPOINTS = 2
"""A lone point is more often a mistake than an animal; bundles with one keypoint need only it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicCrop:
    """How frames are cropped around the animal.

    A crop has the aspect ratio that whole frames have in the model input, so that no other
    distortion and no more padding appears than in training. It is never smaller than the model
    input (magnified pixels show nothing new), nor than the whole frame divided by `max_zoom`.
    """

    margin_px: float = 50.0
    """Added on each side of the keypoints' box: more than the animal moves between frames."""
    confidence_cutoff: float | None = None
    """Confidence in [0, 1] from which a keypoint counts as found; None takes the bundle's own."""
    max_zoom: float = 2.5
    """Largest magnification against the whole frame. Training shows animals at 0.5 to 1.25 of
    their labelled size: an animal at the lower end is brought to the upper one, not beyond."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.margin_px < float("inf"):
            raise InvalidRequest(f"margin_px is {self.margin_px}; give 0 px or more")
        if self.confidence_cutoff is not None and not 0 <= self.confidence_cutoff <= 1:
            raise InvalidRequest(f"confidence_cutoff is {self.confidence_cutoff}; give one in 0..1")
        if not 1 <= self.max_zoom < float("inf"):
            raise InvalidRequest(f"max_zoom is {self.max_zoom}; give 1 or more")

    def around(
        self,
        points_xy: NDArray[np.float32],
        spec: InputSpec,
        frame_width_px: int,
        frame_height_px: int,
        within: CropRegion | None = None,
    ) -> CropRegion:
        """Return the crop around points, inside the frame and inside `within`.

        Args:
            points_xy: (P, 2) px of the frame, at least one.
            spec: the model input.
            frame_width_px: width of the frame.
            frame_height_px: height of the frame.
            within: the part of the frame that may be looked at; None is all of it.
        """
        whole = within or CropRegion(0, 0, frame_width_px, frame_height_px)
        low, high = points_xy.min(axis=0), points_xy.max(axis=0)
        box_width, box_height = (float(one) + 2 * self.margin_px for one in high - low)
        width = max(box_width, spec.width_px)
        height = max(box_height, spec.height_px)
        if spec.fit == "stretch":  # keep the distortion that whole frames have
            aspect = whole.width_px / whole.height_px
            width = max(width, whole.width_px / self.max_zoom)
        else:
            aspect = spec.width_px / spec.height_px
            letterboxed = max(whole.width_px, whole.height_px * aspect)
            width = max(width, letterboxed / self.max_zoom)
        width = max(width, height * aspect)
        size = (
            min(whole.width_px, round(width)),
            min(whole.height_px, round(width / aspect)),
        )
        center_x, center_y = (low + high) / 2
        return CropRegion(
            whole.x_px + _start(float(center_x) - whole.x_px, size[0], whole.width_px),
            whole.y_px + _start(float(center_y) - whole.y_px, size[1], whole.height_px),
            *size,
        )


class AnimalFollower:
    """Where the animal of one stream was last seen by one pose bundle."""

    def __init__(self, options: DynamicCrop, manifest: Manifest) -> None:
        """Take the options of a stream.

        Raises:
            InvalidRequest: the bundle finds several animals, or points of the whole scene.
        """
        pose = manifest.pose
        if pose is None or pose.max_animals > 1:
            number = pose.max_animals if pose else 0
            raise InvalidRequest(
                f"dynamic cropping follows one animal, but {manifest.name}@{manifest.version} "
                f"finds {number}; leave it out, or name a bundle for one animal"
            )
        if pose.unique_keypoints:
            raise InvalidRequest(
                f"dynamic cropping would hide {', '.join(pose.unique_keypoints)} of the scene from "
                f"{manifest.name}@{manifest.version}; leave it out"
            )
        self._options = options
        self._spec = manifest.input
        cutoff = options.confidence_cutoff
        self._cutoff = pose.confidence_cutoff if cutoff is None else cutoff
        self._needed = min(_MIN_KEYPOINTS, len(pose.keypoints))
        self._frame_index = -1
        self._points_xy: NDArray[np.float32] | None = None

    def see(self, frame_index: int, poses: Poses) -> None:
        """Take the answer to a frame; one that comes after a later frame's changes nothing."""
        if frame_index < self._frame_index:
            return
        self._frame_index = frame_index
        found = poses.confidence[0] >= self._cutoff
        self._points_xy = poses.keypoints_xy[0][found] if found.sum() >= self._needed else None

    def crop(
        self, frame_width_px: int, frame_height_px: int, within: CropRegion | None = None
    ) -> CropRegion | None:
        """Return where to look in the next frame: `within` where the animal is lost or outside."""
        points = self._points_xy
        if points is None:
            return within
        area = within or CropRegion(0, 0, frame_width_px, frame_height_px)
        low = np.array([area.x_px, area.y_px])
        high = np.array([area.x_px + area.width_px, area.y_px + area.height_px])
        if not ((points >= low - 0.5) & (points < high - 0.5)).all(axis=1).any():
            return within
        return self._options.around(points, self._spec, frame_width_px, frame_height_px, within)


def open_followers(
    options: DynamicCrop | None, manifests: list[Manifest]
) -> list[AnimalFollower] | None:
    """Return one follower for each pose bundle; None where nothing is to be followed.

    Raises:
        InvalidRequest: there is no pose bundle, or one that cannot be followed.
    """
    if options is None:
        return None
    if not manifests:
        raise InvalidRequest(
            "dynamic cropping follows the keypoints of a pose bundle and none is named; name one, "
            "or leave it out"
        )
    return [AnimalFollower(options, manifest) for manifest in manifests]


def _start(center: float, size: int, available: int) -> int:
    """First px of a span of `size` around `center` (of a px) that lies in 0..available."""
    return min(max(0, round(center + 0.5 - size / 2)), available - size)
