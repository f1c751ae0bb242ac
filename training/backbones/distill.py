"""Distils the features of one backbone into another that no pretrained weights are at hand for.

The student learns, on unlabelled frames, to give the maps of the teacher at strides 8, 16 and 32
through a linear layer each (Romero et al. 2015, FitNets, arXiv 1412.6550). It is no substitute for
weights that were trained on ImageNet itself, but a far better start than random ones.
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from service.bundle import InputSpec, file_sha256
from service.errors import InvalidConfig
from service.preprocess import to_model_input
from training.backbones import Backbone, Pyramid, create_backbone
from training.data.behavior_augment import ClipAugmenter, ClipAugmentSettings
from training.data.behavior_frames import decode_video
from training.data.frames import EpochSampler
from training.data.labels import InvalidLabels
from training.loop import LoopSettings, Precision, fit, load_best
from training.runs import Run
from training.scheduled_task import ScheduledTask

WEIGHTS_NAME = "backbone.pth"
_MEASURED_FRAMES = 64
"""On which the spread of the teacher's maps is measured."""

log = logging.getLogger("ethostream.training")


class BackboneTraining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one distillation; stored as the run's config.json."""

    videos: tuple[str, ...]
    """Videos and folders of pictures."""
    every: int = 4
    """Every how many-th frame of a video is used."""
    most_frames: int = 1000
    """Of one video."""
    input: InputSpec
    teacher: str
    teacher_weights: str
    """File name and SHA-256."""
    student: str
    student_weights: str | None = None
    """File name and SHA-256 of what the student starts at; None for random weights."""
    epochs: int = 10
    samples_per_epoch: int = 2048
    batch_size: int = 24
    learning_rate: float = 2e-3
    weight_decay: float = 2e-2
    augment: ClipAugmentSettings = ClipAugmentSettings(
        rotation_degrees=20.0, scale=(0.8, 1.6), shift=0.2
    )
    seed: int = 1
    precision: Precision = "bf16-mixed"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("every", "most_frames", "epochs", "samples_per_epoch", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; give 1 or more")


def distill(run: Run, weights: Path, student_weights: Path | None = None, *, resume: bool) -> Path:
    """Train as the settings of `run` say.

    Args:
        run: a new run of task `backbone`, or the one that is continued.
        weights: ImageNet weights of the teacher.
        student_weights: what the student starts at; random weights without.
        resume: continue from the last whole epoch.

    Returns:
        The file of the student's weights, a state dict under torchvision's names.

    Raises:
        InvalidConfig: weights are of another network, or other ones than the run began with.
        InvalidLabels: a video cannot be decoded, or there is no frame.
    """
    settings = run.settings("backbone", BackboneTraining)
    for whose, file, known in (
        ("teacher", weights, settings.teacher_weights),
        ("student", student_weights, settings.student_weights),
    ):
        given = name_weights(file) if file else None
        if given != known:
            raise InvalidConfig(
                f"the run began with the {whose} weights {known or 'none'}, not {given or 'none'}; "
                "name the same file, or none where there was none"
            )
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    frames = load_frames([Path(one) for one in settings.videos], settings)
    log.info("%d frames of %d videos", len(frames), len(settings.videos))
    student = create_backbone(settings.student, weights=student_weights or "random")
    student.keeps_statistics = False  # there are frames enough to learn their own
    task = DistillTask(
        student,
        create_backbone(settings.teacher, weights=weights),
        measured=_as_pixels(torch.from_numpy(_spread(frames, _MEASURED_FRAMES))),
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    fit(
        task,
        DataLoader(
            _AugmentedFrames(frames, settings),
            settings.batch_size,
            sampler=EpochSampler(settings.samples_per_epoch),
        ),
        None,
        settings=LoopSettings(
            max_epochs=settings.epochs,
            batch_size=settings.batch_size,
            seed=settings.seed,
            precision=settings.precision,
            threads=settings.threads,
        ),
        run=run,
        monitor="loss",
        mode="min",
        resume=resume,
    )
    load_best(run, student)
    path = run.directory / WEIGHTS_NAME
    torch.save({name: one.contiguous() for name, one in student.state_dict().items()}, path)
    return path


def name_weights(file: Path) -> str:
    """Return what settings say of a file of weights: its name and SHA-256."""
    return f"{file.name} {file_sha256(file)}"


class DistillTask(ScheduledTask):
    """Trains a student backbone to give the maps of a teacher.

    Args:
        network: the student.
        teacher: with its weights; both must have maps of the same strides.
        measured: pixels (N, 3, H, W) in [0, 255] on which the spread of its maps is measured.
    """

    def __init__(
        self, network: Backbone, teacher: Backbone, *, measured: Tensor, **optimizer: float
    ) -> None:
        super().__init__(**optimizer)
        if network.deep_stride != teacher.deep_stride:
            raise InvalidConfig(
                f"{network.name} and {teacher.name} have maps of stride {network.deep_stride} and "
                f"{teacher.deep_stride}; choose two of the same"
            )
        self.network = network.to(memory_format=torch.channels_last)
        self.teacher = teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.heads = nn.ModuleList(
            nn.Conv2d(own, wanted, 1)
            for own, wanted in zip(network.channels, teacher.channels, strict=True)
        )
        with torch.no_grad():
            for place, one in enumerate(teacher(measured)):
                self.register_buffer(f"mean{place}", one.mean((0, 2, 3), keepdim=True))
                self.register_buffer(f"std{place}", one.std((0, 2, 3), keepdim=True) + 0.05)

    def train(self, mode: bool = True) -> "DistillTask":
        """Set the mode of all but the teacher."""
        super().train(mode)
        self.teacher.eval()
        return self

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the mean squared distance of the maps, and of their means over the frame."""
        pixels = _as_pixels(batch)
        with torch.no_grad():
            wanted: Pyramid = self.teacher(pixels)
        found: Pyramid = self.network(pixels)
        loss = torch.zeros((), device=pixels.device)
        for place, head in enumerate(self.heads):
            mean, std = self.get_buffer(f"mean{place}"), self.get_buffer(f"std{place}")
            target = (wanted[place].float() - mean) / std
            answer = head(found[place]).float()
            loss = loss + F.mse_loss(answer, target)
            loss = loss + F.mse_loss(answer.mean((2, 3)), target.mean((2, 3)))
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch))
        return loss


def load_frames(videos: Sequence[Path], settings: BackboneTraining) -> NDArray[np.uint8]:
    """Decode and resize (N, H, W, C) frames.

    Raises:
        InvalidLabels: a video cannot be decoded, or there is no frame.
    """

    def frames() -> Iterator[NDArray[np.uint8]]:
        for video in videos:
            chosen = islice(decode_video(video), 0, None, settings.every)
            for frame in islice(chosen, settings.most_frames):
                yield to_model_input(frame, settings.input)[0]

    found = list(frames())
    if not found:
        raise InvalidLabels("the videos have no frame; name others")
    return np.stack(found)


class _AugmentedFrames(Dataset[Tensor]):
    """Random frames, each seen by one other camera; a key is (epoch, index)."""

    def __init__(self, frames: NDArray[np.uint8], settings: BackboneTraining) -> None:
        self._frames = frames
        self._augmenter = ClipAugmenter(settings.augment)
        self._seed = settings.seed

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        random = np.random.default_rng((self._seed, *key))
        frame = self._frames[random.integers(len(self._frames))]
        return torch.from_numpy(self._augmenter(frame[None], random)[0])


def _as_pixels(frames: Tensor) -> Tensor:
    """(N, H, W, C) uint8 to (N, 3, H, W) float in [0, 255]."""
    pixels = frames.movedim(-1, 1).float()
    return pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _spread(frames: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Up to `count` frames from all over."""
    places = np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int)
    return np.asarray(frames[places])
