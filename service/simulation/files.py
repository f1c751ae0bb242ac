"""A recording on disk: the video, its labels, and what it was made from."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np

from service.encoders import Encoder, find_encoder
from service.errors import InvalidConfig
from service.simulation.recording import Recording
from service.simulation.settings import SimulationSettings

SCORER = "ethostream"


class TruthFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`<name>_truth.json`: what a recording was made from."""

    settings: SimulationSettings
    video: str
    codec: str
    frame_count: int
    frame_rate_hz: float
    keypoint_names: tuple[str, ...]
    behavior_names: tuple[str, ...]
    """Without `background`."""
    body_length_px: float


@dataclass(frozen=True, slots=True)
class RecordingFiles:
    """Where `write_recording` put things."""

    video: Path
    pose_csv: Path
    pose_h5: Path
    behavior_csv: Path
    truth_arrays: Path
    """npz of `keypoints_xy`, `visible`, `behaviors` and `behaviors_by_animal`."""
    truth_json: Path


def write_recording(
    recording: Recording,
    directory: Path,
    *,
    name: str = "recording",
    codec: str = "h264",
    on_frame: Callable[[int], None] | None = None,
) -> RecordingFiles:
    """Write the video, DeepLabCut labels, DeepEthogram labels and the whole truth.

    The labels hold what a person could mark: keypoints that are hidden or outside the frame are
    missing there; `truth_arrays` has every position, with its flag.

    Args:
        recording: what to write.
        directory: made where it is missing; files of the same name are replaced.
        name: stem of the file names, and of the folder below `labeled-data`.
        codec: one of `service.encoders.CODEC_NAMES`.
        on_frame: called with the number of frames written so far.

    Raises:
        InvalidConfig: unknown codec, or a size that it cannot hold.
    """
    chosen = _choose(codec, recording.settings)
    from service.simulation.labels import write_behavior_labels, write_pose_labels

    directory.mkdir(parents=True, exist_ok=True)
    video = directory / f"{name}{chosen.suffix}"
    _write_video(recording, video, chosen, on_frame)
    pose_csv, pose_h5 = write_pose_labels(recording, directory / "labeled-data" / name, SCORER)
    behavior_csv = directory / f"{name}_labels.csv"
    write_behavior_labels(recording, behavior_csv)
    truth_arrays = directory / f"{name}_truth.npz"
    np.savez_compressed(
        truth_arrays,
        keypoints_xy=recording.keypoints_xy,
        visible=recording.visible,
        behaviors=recording.behaviors,
        behaviors_by_animal=recording.behaviors_by_animal,
    )
    truth = TruthFile(
        settings=recording.settings,
        video=video.name,
        codec=codec,
        frame_count=recording.frame_count,
        frame_rate_hz=recording.settings.frame_rate_hz,
        keypoint_names=recording.keypoint_names,
        behavior_names=recording.behavior_names,
        body_length_px=recording.body_length_px,
    )
    truth_json = directory / f"{name}_truth.json"
    truth_json.write_bytes(msgspec.json.format(msgspec.json.encode(truth), indent=2) + b"\n")
    return RecordingFiles(video, pose_csv, pose_h5, behavior_csv, truth_arrays, truth_json)


def check_codec(codec: str, settings: SimulationSettings) -> None:
    """Refuse a codec before anything is computed.

    Raises:
        InvalidConfig: unknown codec, or a size that it cannot hold.
    """
    _choose(codec, settings)


def _choose(codec: str, settings: SimulationSettings) -> Encoder:
    chosen = find_encoder(codec)
    width_px, height_px = settings.width_px, settings.height_px
    if chosen.even_size and (width_px % 2 or height_px % 2):
        raise InvalidConfig(
            f"{codec} needs an even width and height, not {width_px}x{height_px}; choose "
            f"{width_px + width_px % 2}x{height_px + height_px % 2}, or codec mjpeg, vp9 or ffv1"
        )
    return chosen


def _write_video(
    recording: Recording, path: Path, codec: Encoder, on_frame: Callable[[int], None] | None
) -> None:
    """Encode to a neighbor of the path and move it there when it is whole."""
    unfinished = path.with_name(path.name + ".part")
    settings = recording.settings
    rate = Fraction(settings.frame_rate_hz).limit_denominator(1001)
    try:
        with av.open(str(unfinished), "w", format=codec.container) as container:
            stream = container.add_stream(codec.name, rate=rate, options=codec.options)
            stream.width, stream.height = settings.width_px, settings.height_px
            stream.pix_fmt = codec.pixel_format
            stream.time_base = 1 / rate
            stream.gop_size = max(1, round(settings.frame_rate_hz))
            for frame_index, pixels in enumerate(recording.frames()):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = frame_index
                frame.time_base = 1 / rate
                container.mux(stream.encode(frame))
                if on_frame is not None:
                    on_frame(frame_index + 1)
            container.mux(stream.encode(None))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
