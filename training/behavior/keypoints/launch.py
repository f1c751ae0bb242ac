"""From the arguments of `ethostream train keypoint-behavior` to a trained run."""

import argparse
import logging
from pathlib import Path

import msgspec

from service.errors import InvalidConfig, NotFound
from service.tracks.read import read_tracks
from training.behavior.keypoints.data import data_sha256, find_tracks
from training.behavior.keypoints.features import Polygon, PoseFeatures
from training.behavior.keypoints.settings import KeypointTraining
from training.behavior.keypoints.train import train_keypoint_behavior
from training.data.behavior_frames import video_rate_hz
from training.data.behavior_labels import read_behavior_project
from training.runs import Run, create_run, open_to_resume

log = logging.getLogger("ethostream.training")


def launch(arguments: argparse.Namespace) -> int:
    """Train, or continue, log the figures and return the exit status."""
    out: Path = arguments.out
    if arguments.resume:
        current = open_to_resume(out, arguments.data)
    else:
        settings = _settings(arguments)
        current = create_run(out.parent, out.name, "behavior", msgspec.to_builtins(settings))
    finished = train_keypoint_behavior(current, resume=arguments.resume)
    _report(current)
    log.info("finished run: %s", finished)
    return 0


def _settings(arguments: argparse.Namespace) -> KeypointTraining:
    if not arguments.data:
        raise InvalidConfig("no data was named; give a folder of videos with label files")
    project = read_behavior_project(arguments.data, exclusive=arguments.exclusive)
    folders: list[Path] = arguments.tracks or arguments.data
    tracks = find_tracks(folders, [one.name for one in project.recordings])
    first = project.recordings[0]
    track = read_tracks(tracks[first.name])
    return KeypointTraining(
        data=tuple(str(path.resolve()) for path in arguments.data),
        tracks=tuple(str(path.resolve()) for path in folders),
        data_sha256=data_sha256(project, tracks),
        behaviors=project.behaviors,
        exclusive=arguments.exclusive,
        frame_rate_hz=arguments.frame_rate or track.frame_rate_hz or video_rate_hz(first.video),
        validation=tuple(arguments.validation),
        test=tuple(arguments.test),
        features=PoseFeatures(
            keypoints=tuple(arguments.keypoints) or track.keypoints,
            heading=tuple(arguments.heading) if arguments.heading else None,
            cutoff=arguments.cutoff,
            causal=arguments.causal,
        ),
        arenas=_read_arenas(arguments.arena) if arguments.arena else {},
        window_frames=arguments.window,
        dropout=arguments.dropout,
        epochs=arguments.epochs,
        samples_per_epoch=arguments.samples,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        min_bout_frames=arguments.min_bout_frames,
        seed=arguments.seed,
        threads=arguments.threads,
    )


def _read_arenas(path: Path) -> dict[str, Polygon]:
    if not path.is_file():
        raise NotFound(f"{path} does not exist; name a JSON file of corners by recording")
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Polygon])
    except msgspec.MsgspecError as error:
        raise InvalidConfig(
            f'{path} does not hold corners by recording, {{"*": [[x, y], ...]}}: {error}'
        ) from error


def _report(run: Run) -> None:
    for part, found in msgspec.json.decode(run.evaluation.read_bytes()).items():
        if found["frames"]:
            log.info(
                "%s: macro F1 %s (chance %s), accuracy %s, AUROC %s, %d frames",
                part,
                *(found[name] for name in ("macro_f1", "chance_f1", "accuracy", "auroc", "frames")),
            )
