"""What counts as an outlier, and which of them are picked."""

from dataclasses import dataclass
from typing import Literal, get_args

from service.errors import InvalidRequest
from training.frames.span import Moment

Method = Literal["jump", "uncertain", "fitting", "list"]
METHODS: tuple[str, ...] = get_args(Method)
LabelFormat = Literal["deeplabcut", "sleap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierSettings:
    """How to look for outliers in predictions; the defaults are DeepLabCut's."""

    methods: tuple[Method, ...] = ("jump",)
    """A frame that one of them flags is an outlier."""
    epsilon_px: float = 20.0
    """jump: the way between two frames from which on a point jumped; fitting: the distance from
    what the model expects."""
    p_bound: float = 0.01
    """uncertain: confidence below which a point is; fitting: points below it count as missing."""
    share: float | None = None
    """uncertain: take this share of the frames instead, those with the lowest confidence."""
    alpha: float = 0.01
    """fitting: the point lies outside the interval that holds it with probability 1 - alpha."""
    keypoints: tuple[str, ...] = ()
    """Which to look at; empty: all."""
    frames: tuple[int, ...] = ()
    """The frames of method list."""
    tracked: bool = False
    """Slots of several animals are animals, although the predictions do not say so."""
    start: Moment | None = None
    """None: the project's."""
    stop: Moment | None = None
    """None: the project's."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for method in self.methods:
            if method not in METHODS:
                raise InvalidRequest(
                    f"unknown method {method!r}; choose among {', '.join(METHODS)}"
                )
        if not self.methods:
            raise InvalidRequest(f"no method is given; choose among {', '.join(METHODS)}")
        if not self.epsilon_px > 0:
            raise InvalidRequest(f"epsilon is {self.epsilon_px:g} px; give more than 0")
        shares = {"p-bound": self.p_bound, "alpha": self.alpha, "share": self.share}
        for name, value in shares.items():
            if value is not None and not 0 < value < 1:
                raise InvalidRequest(f"{name} is {value:g}; give more than 0 and less than 1")
        if ("list" in self.methods) != bool(self.frames):
            raise InvalidRequest(
                "method list needs the frames to take, and no other method does; give "
                "--method list --frames 10,250"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PickSettings:
    """Which outliers become pictures."""

    pick: Literal["kmeans", "uniform"] = "kmeans"
    """kmeans: one of each group of frames that look alike; uniform: at random."""
    number: int | None = None
    """None: numframes2pick of config.yaml, else 20; all where the only method is list."""
    color: bool = False
    """Whether kmeans compares colors."""
    seed: int = 0
    label_format: LabelFormat = "deeplabcut"
    dry_run: bool = False
    """Only say what would be picked from; write nothing."""

    def __post_init__(self) -> None:
        """Check the range."""
        if self.number is not None and self.number < 1:
            raise InvalidRequest(f"the number of frames is {self.number}; give at least 1")
