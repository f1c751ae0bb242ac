"""The report of one video: what was analyzed, with what, what came out, and what was wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.drawing import draw_confidence, draw_ethogram, draw_trajectory
from service.errors import EthostreamError
from service.report.bouts import bout_table, measure_bouts
from service.report.page import Picture, Table, drawn_address, write_page
from service.report.poses import keypoint_table, motion_table
from service.report.stills import Still, draw_stills, read_stills
from service.report.words import duration_text, number_text, share_text, size_text
from service.results import AnsweredBundle, VideoResults
from service.results.plan import REPORT_ENDING
from service.results.rows import row_edges_s
from service.values import BehaviorStatus, FrameStatus

_TEMPLATE = Path(__file__).parent / "video.html.jinja"
_FRAMES = {
    FrameStatus.OK: "decoded",
    FrameStatus.REPEATED: "shown again by the container; analyzed like the frame before",
    FrameStatus.MISSING: "listed by the container, but not in the file",
    FrameStatus.CORRUPT: "damaged",
}
_ANSWERS = {
    BehaviorStatus.OK: "answered",
    BehaviorStatus.HELD: "the answer of the last evaluated frame",
    BehaviorStatus.NO_CONTEXT: "too few frames before",
    BehaviorStatus.NO_FRAME: "the frame itself has no pixels",
    BehaviorStatus.ERROR: "the engine failed",
}


@dataclass(frozen=True, slots=True)
class _Section:
    """What the page tells of one bundle."""

    title: str
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]


def report_path(out: Path, stem: str) -> Path:
    """Path of the report of the video named `stem`."""
    return out / f"{stem}{REPORT_ENDING}"


def write_video_report(
    results: VideoResults, out: Path, *, video: Path | None = None, stem: str = ""
) -> Path:
    """Write `out`/<stem>_report.html, which holds its pictures and needs no network.

    Args:
        results: of one video; may hold no frame.
        out: folder, made where it is missing.
        video: the file, or the folder of the pictures, for a few frames with the overlay; None
            leaves them out. Where it cannot be read, the page says why.
        stem: beginning of the file name; empty takes the video's name without its ending.

    Returns:
        The page.
    """
    source = results.provenance.source
    stills, stills_message = _stills(results, video)
    return write_page(
        _TEMPLATE,
        report_path(out, stem or source.stem),
        name=source.name,
        message=results.provenance.message,
        video=_video_table(results),
        models=_model_table(results.provenance.bundles),
        frames=_status_table(results.status, _FRAMES, "Frames by what decoding gave"),
        stills=draw_stills(results, stills),
        stills_message=stills_message,
        poses=_pose_sections(results, stills[0].pixels if stills else None),
        behaviors=_behavior_sections(results),
    )


def _video_table(results: VideoResults) -> Table:
    provenance, info = results.provenance, results.provenance.info
    edges_s = row_edges_s(results)
    rows = [
        ("file", provenance.source.name),
        ("size", size_text(provenance.source.size_bytes)),
        ("SHA-256", provenance.source.sha256),
        ("picture", f"{info.width_px}x{info.height_px} px, {info.codec}"),
        ("frame rate", f"{number_text(results.frame_rate_hz, 3)} Hz"),
        ("frames", f"{len(results):,}"),
        ("duration", duration_text(float(edges_s[-1] - edges_s[0]))),
        ("decoder", info.decoder),
        ("ethostream", provenance.ethostream),
        *_option_rows(results),
    ]
    return Table(head=(), rows=tuple(rows), text_columns=(1,))


def _option_rows(results: VideoResults) -> list[tuple[str, str]]:
    """What was asked for besides the bundles."""
    options = results.provenance.options
    rows = []
    if options.crop_xywh is not None:
        x, y, width, height = options.crop_xywh
        rows.append(("crop", f"{width}x{height} px at x {x}, y {y}"))
    if options.dynamic_crop is not None:
        crop = options.dynamic_crop
        rows.append(
            (
                "dynamic crop",
                f"around the animal, {crop.margin_px:g} px wider, at most {crop.max_zoom:g} "
                "times enlarged",
            )
        )
    if options.first_frame or options.frame_limit:
        limit = f"at most {options.frame_limit:,} frames" if options.frame_limit else "to the end"
        rows.append(("part", f"from frame {options.first_frame:,}, {limit}"))
    if options.frame_rate_hz:
        found = results.provenance.info.frame_rate_hz
        rows.append(
            ("rate asked for", f"{options.frame_rate_hz:g} Hz in place of the file's {found:g} Hz")
        )
    return rows


def _model_table(bundles: tuple[AnsweredBundle, ...]) -> Table:
    rows = []
    for one in bundles:
        if one.pose is not None:
            answers = f"{len(one.pose.keypoints)} keypoints: {', '.join(one.pose.keypoints)}"
            if one.pose.max_animals > 1:
                answers += f"; up to {one.pose.max_animals} of each"
        else:
            assert one.behavior is not None
            kind = "one at a time" if one.behavior.exclusive else "any number of them"
            answers = f"{len(one.behavior.behaviors)} behaviors, {kind}"
            if one.behavior.stride > 1:
                answers += f"; every {one.behavior.stride}. frame evaluated"
        rows.append((str(one.key), answers, one.engine, one.precision, one.manifest_sha256[:12]))
    return Table(
        head=("bundle", "answers", "engine", "precision", "SHA-256 begins"),
        rows=tuple(rows),
        text_columns=(1, 2, 3, 4),
    )


def _status_table(
    status: NDArray[np.uint8],
    meanings: Mapping[FrameStatus, str] | Mapping[BehaviorStatus, str],
    caption: str,
) -> Table:
    rows = []
    for one, meaning in meanings.items():
        count = int((status == one).sum())
        if count:
            share = share_text(count / len(status))
            rows.append((one.name.lower().replace("_", " "), f"{count:,}", share, meaning))
    return Table(
        head=("status", "frames", "share", "meaning"),
        rows=tuple(rows),
        caption=caption,
        text_columns=(3,),
    )


def _stills(results: VideoResults, video: Path | None) -> tuple[list[Still], str]:
    """Some frames, or why there are none."""
    if video is None:
        return [], ""
    try:
        return read_stills(video, results), ""
    except (EthostreamError, OSError) as error:
        return [], str(error)


def _pose_sections(results: VideoResults, background: NDArray[np.uint8] | None) -> list[_Section]:
    sections = []
    for answered, poses in results.pose_answers() if len(results) else ():
        key = str(answered.key)
        motion = motion_table(results, answered, poses)
        pictures = [
            Picture(
                drawn_address(partial(draw_confidence, results, bundle=key, title=key)),
                f"Confidence of each keypoint of {key} over time",
                "Confidence in [0, 1] with the cut-off; red below: frames under it; gray: frames "
                "without a result",
            )
        ]
        if motion is not None:
            draw = partial(draw_trajectory, results, bundle=key, background=background, title=key)
            way = Picture(
                drawn_address(draw),
                f"Way of the animal over the arena, and its speed over time, by {key}",
            )
            pictures.insert(0, way)
        tables = [keypoint_table(results, answered, poses), *([motion] if motion else [])]
        sections.append(_Section(key, tuple(pictures), tuple(tables)))
    return sections


def _behavior_sections(results: VideoResults) -> list[_Section]:
    sections = []
    for answered, found in results.behavior_answers() if len(results) else ():
        key = str(answered.key)
        picture = Picture(
            drawn_address(partial(draw_ethogram, results, bundle=key, title=key)),
            f"Bouts and probability of each behavior of {key} over time",
            "Bouts after the bout rule, over the probability in [0, 1] with its threshold; gray: "
            "frames without an answer",
        )
        tables = (
            bout_table(measure_bouts(results, answered, found)),
            _status_table(found.status, _ANSWERS, "Frames by what the answer rests on"),
        )
        sections.append(_Section(key, (picture,), tables))
    return sections
