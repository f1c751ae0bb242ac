"""What the tensors of an ONNX file mean: the description that users write as a small TOML file.

keypoints = ["snout", "leftear", "rightear", "tailbase"]
left_right = [["leftear", "rightear"]]

[input]
width_px = 256
height_px = 256
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]

[answer]
kind = "heatmaps"
maps = "heatmaps"
"""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from service.bundle import InputSpec
from service.errors import InvalidConfig

Layout = Literal["NCHW", "NHWC"]


class InputDescription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the graph takes: (pixel * scale - mean) / std."""

    width_px: int
    height_px: int
    name: str = ""
    """Of the input; empty takes the only one."""
    layout: Layout = "NCHW"
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    """After `scale`, one a channel; empty is 0."""
    std: tuple[float, ...] = ()
    """After `scale`, one a channel; empty is 1."""
    fit: Literal["letterbox", "stretch"] = "letterbox"

    def __post_init__(self) -> None:
        """Check the numbers of channels and the ranges."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != self.channels:
                raise InvalidConfig(
                    f"input.{name} has {len(values)} values for {self.color}; "
                    f"give {self.channels} or none"
                )
        if self.scale <= 0 or any(one <= 0 for one in self.std):
            raise InvalidConfig(
                f"input.scale is {self.scale:g} and input.std {self.std}; give positive values"
            )

    @property
    def channels(self) -> int:
        """3 for colors, 1 for gray."""
        return 1 if self.color == "gray" else 3

    def input_spec(self) -> InputSpec:
        """Return the bundle's input, always RGB or gray.

        Raises:
            BundleInvalid: no bundle can have that size.
        """
        return InputSpec(
            width_px=self.width_px,
            height_px=self.height_px,
            color="gray" if self.color == "gray" else "rgb",
            fit=self.fit,
        )


class KeypointAnswer(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="keypoints",
):
    """The graph answers coordinates."""

    points: str
    """Output with (x, y) or (x, y, confidence) on its last axis."""
    confidence: str = ""
    """Output with the axes of `points` but the last one; empty where it is in `points`."""
    order: Literal["K", "N", "NK", "KN"] = "K"
    """Axes of `points` between batch and coordinates: keypoints; animals, where there is one
    keypoint; animals and keypoints; or keypoints and their detections."""
    units: Literal["px", "share"] = "px"
    """px of the graph's input, or shares of its width and height."""
    sigmoid: bool = False
    """Whether confidences are logits."""


class HeatmapAnswer(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="heatmaps",
):
    """The graph answers one map for each keypoint; the largest cell is where it is."""

    maps: str
    layout: Layout = "NCHW"
    sigmoid: bool = False
    """Whether the maps are logits."""
    stride_px: int | None = None
    """Input px per cell; None divides the sizes, where that gives a whole number."""
    origin_px: float | None = None
    """Coordinate of the first cell; None is its middle, (stride_px - 1) / 2."""
    offsets: str = ""
    """Output with x and y of each keypoint, (B, 2K, h, w), relative to its cell."""
    offset_unit_px: float = 1.0
    """What an offset of 1 means."""
    refine: Literal["none", "quarter", "lightning-pose"] = "none"
    """quarter: a quarter of a cell towards the larger neighbor. lightning-pose: expectation of
    the sharpened map at the input's size."""


class SimccAnswer(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="simcc",
):
    """The graph answers one row of bins for each axis (RTMPose)."""

    x: str
    """Output (B, K, bins of x)."""
    y: str
    """Output (B, K, bins of y)."""
    split_ratio: float = 2.0
    """Bins per px."""


Answer = KeypointAnswer | HeatmapAnswer | SimccAnswer


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    keypoints: tuple[str, ...]
    input: InputDescription
    answer: Answer
    skeleton: tuple[tuple[str, str], ...] = ()
    left_right: tuple[tuple[str, str], ...] = ()
    unique_keypoints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that names are known and not repeated."""
        known = set(self.keypoints)
        if not known or len(known) != len(self.keypoints):
            raise InvalidConfig(
                f"keypoints are {', '.join(self.keypoints) or 'none'}; name at least one, and "
                "each of them once"
            )
        named = (*self.skeleton, *self.left_right, self.unique_keypoints)
        strange = [one for group in named for one in group if one not in known]
        if strange:
            raise InvalidConfig(
                f"{strange[0]} is none of the keypoints {', '.join(self.keypoints)}; correct it"
            )


def read_description(path: Path) -> Description:
    """Read the TOML file.

    Raises:
        InvalidConfig: it cannot be read, or a key is unknown, missing or outside its range.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Description)
    except OSError as error:
        raise InvalidConfig(
            f"{path} cannot be read ({error.strerror}); write what the tensors mean as TOML and "
            "name it with --config"
        ) from error
    except (msgspec.MsgspecError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfig(f"{path} does not describe a graph: {error}; correct it") from error
