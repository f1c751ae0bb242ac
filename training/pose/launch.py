"""From the arguments of `ethostream train pose` to a trained run."""

import argparse
import logging
from pathlib import Path

import msgspec

from service.bundle import InputSpec, file_sha256
from service.errors import InvalidConfig
from training.data.labels import left_right_pairs
from training.data.projects import read_projects
from training.loop import LoopSettings
from training.pose.settings import PoseTraining
from training.pose.train import train_pose
from training.runs import create_run, open_run

log = logging.getLogger("ethostream.training")


def launch(arguments: argparse.Namespace) -> int:
    """Train, or continue, log where the best checkpoint is and return the exit status."""
    out: Path = arguments.out
    if arguments.resume:
        if arguments.data:
            raise InvalidConfig(
                f"--resume continues {out} with its own data; leave out {arguments.data[0]}"
            )
        current = open_run(out)
    else:
        settings = _settings(arguments)
        current = create_run(out.parent, out.name, "pose", msgspec.to_builtins(settings))
    best = train_pose(current, weights=arguments.backbone_weights, resume=arguments.resume)
    log.info("best checkpoint: %s", best)
    return 0


def _settings(arguments: argparse.Namespace) -> PoseTraining:
    if not arguments.data:
        raise InvalidConfig("no data was named; give the folder of a DeepLabCut project")
    data = read_projects(arguments.data)
    weights: Path | None = arguments.backbone_weights
    if weights is not None and not weights.is_file():
        raise InvalidConfig(f"{weights} does not exist; name a file of backbone weights")
    width_px, height_px = arguments.size
    skeleton = tuple(arguments.skeleton)
    unknown = [name for pair in skeleton for name in pair if name not in data.keypoints]
    if unknown:
        raise InvalidConfig(
            f"--skeleton names {unknown[0]}; the keypoints are {', '.join(data.keypoints)}"
        )
    return PoseTraining(
        data=tuple(str(path.resolve()) for path in arguments.data),
        keypoints=data.keypoints,
        left_right=left_right_pairs(data.keypoints),
        skeleton=skeleton,
        input=InputSpec(width_px=width_px, height_px=height_px, color="rgb", fit="letterbox"),
        backbone_weights=f"{weights.name} {file_sha256(weights)}" if weights else None,
        data_sha256=data.sha256,
        simulated_share=arguments.simulated_share,
        simulated_frames=arguments.simulated_frames if arguments.simulated_share else 0,
        validation_share=arguments.validation_share,
        test_share=arguments.test_share,
        view_px=arguments.view_px,
        views_per_epoch=arguments.views_per_epoch,
        learning_rate=arguments.learning_rate,
        loop=LoopSettings(
            max_epochs=arguments.epochs,
            patience_epochs=arguments.patience,
            batch_size=arguments.batch_size,
            seed=arguments.seed,
            precision=arguments.precision,
            threads=arguments.threads,
        ),
    )
