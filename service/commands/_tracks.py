"""The actions of `ethostream tracks`."""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from service.drawing.encode import suffix_of
from service.drawing.labelled import LabelledOptions, draw_labelled
from service.errors import InvalidRequest
from service.results.atomic import replacing
from service.tracks import Track, read_tracks, write_tracks
from service.tracks.extras import analysis_module
from service.tracks.filters import FilterChoices, filter_track
from service.tracks.forward import fit_settings, forward_error, predict_ahead
from service.tracks.quality import QualityChoices, TrackQuality, body_axis
from service.tracks.write import derived_stem

Report = dict[str, Any]


def convert(arguments: argparse.Namespace) -> int:
    """Write tracks in other formats."""
    reports: list[Report] = []
    for track in _tracks_apart(arguments):
        stem = derived_stem(track, "", arguments.out)
        stem = stem.with_name(stem.name.rstrip("_"))
        formats = [name for name in arguments.format if name != "slp"]
        files = write_tracks(track, stem, formats)
        if "slp" in arguments.format:
            path = stem.with_name(f"{stem.name}.slp")
            video = arguments.video or Path(f"{track.source.stem}.mp4")
            analysis_module("sleap", "writing .slp").write_sleap(track, path, video)
            files.append(path)
        reports.append({"file": str(track.source), "written": [str(one) for one in files]})
    return _print_written(arguments, reports)


def filter_tracks(arguments: argparse.Namespace) -> int:
    """Filter tracks, or predict them ahead."""
    if arguments.ahead_ms:
        return _predict(arguments)
    choices = FilterChoices(
        kind=arguments.kind,
        window=arguments.window,
        cutoff=arguments.cutoff,
        ar_degree=arguments.ar,
        ma_degree=arguments.ma,
        alpha=arguments.alpha,
    )
    reports: list[Report] = []
    for track in _tracks_apart(arguments):
        done = filter_track(track, choices)
        files = write_tracks(
            done.track, derived_stem(track, "filtered", arguments.out), arguments.format
        )
        report = {
            "file": str(track.source),
            "kind": choices.kind,
            "moved_px": round(done.moved_px, 3),
            "filled": done.filled,
            "missing": done.missing,
            "outliers": done.outliers,
            "kalman": asdict(done.kalman) if done.kalman else None,
            "written": [str(one) for one in files],
        }
        reports.append(report)
        if not arguments.json:
            outliers = f", {done.outliers} outliers" if choices.kind == "arima" else ""
            print(
                f"{track.source}: {choices.kind}: points moved by {done.moved_px:.2f} px on "
                f"average, {done.filled} filled, {done.missing} missing{outliers}"
            )
            if done.kalman:
                print(
                    f"  measurement {done.kalman.measurement_sd_px:g} px, acceleration "
                    f"{done.kalman.acceleration_sd_px_s2:g} px/s² over "
                    f"{done.kalman.acceleration_time_s:g} s"
                )
    return _print_written(arguments, reports)


def _predict(arguments: argparse.Namespace) -> int:
    if arguments.kind != "kalman":
        raise InvalidRequest(f"--ahead-ms needs --kind kalman, not {arguments.kind}")
    truth = read_tracks(arguments.truth) if arguments.truth else None
    reports: list[Report] = []
    for track in _tracks_apart(arguments):
        cutoff = 0.6 if arguments.cutoff is None else arguments.cutoff
        for ahead_ms in arguments.ahead_ms:
            ahead_s = ahead_ms / 1e3
            settings = fit_settings(track, ahead_s)
            predicted = predict_ahead(track, ahead_s, settings)
            error = forward_error(track, predicted, ahead_s, truth=truth, cutoff=cutoff)
            stem = derived_stem(track, f"ahead{ahead_ms:g}ms", arguments.out)
            files = write_tracks(predicted, stem, arguments.format)
            reports.append(
                {
                    "file": str(track.source),
                    **asdict(error),
                    "helps": error.helps,
                    "kalman": asdict(settings),
                    "written": [str(one) for one in files],
                }
            )
            if not arguments.json:
                print(
                    f"{track.source}: {ahead_ms:g} ms ahead of {error.points} points: "
                    f"{error.held_mean_px:.2f} px off as measured, {error.predicted_mean_px:.2f} "
                    f"px predicted (95 %: {error.held_p95_px:.2f}, {error.predicted_p95_px:.2f}); "
                    f"{error.share_nearer:.0%} nearer: predicting "
                    f"{'helps' if error.helps else 'does not help'}"
                )
    return _print_written(arguments, reports)


def kinematics(arguments: argparse.Namespace) -> int:
    """Measure bones, joints and speeds."""
    from service.tracks.kinematics import kinematics_table, measure_kinematics, write_skeleton_h5

    joints = [_names(one, 3) for one in arguments.joint]
    reports: list[Report] = []
    for track in _tracks_apart(arguments):
        measured = measure_kinematics(track, joints=[(one[0], one[1], one[2]) for one in joints])
        table = kinematics_table(measured)
        stem = derived_stem(track, "kinematics", arguments.out)
        files = [stem.with_name(stem.name + suffix) for suffix in (".csv", ".parquet")]
        with replacing(files[0]) as unfinished:
            table.to_csv(unfinished, index=False, float_format="%.6g")
        with replacing(files[1]) as unfinished:
            table.to_parquet(unfinished, index=False)
        if measured.bones:
            stem = derived_stem(track, "skeleton", arguments.out)
            files.append(stem.with_name(f"{stem.name}.h5"))
            write_skeleton_h5(measured, files[-1])
        reports.append(
            {
                "file": str(track.source),
                "bones": [":".join(bone) for bone in measured.bones],
                "joints": [":".join(joint) for joint in measured.joints],
                "written": [str(one) for one in files],
            }
        )
    return _print_written(arguments, reports)


def plot(arguments: argparse.Namespace) -> int:
    """Draw the plots of each animal."""
    from service.drawing.track_plots import draw_track

    reports: list[Report] = []
    for track in _tracks_apart(arguments):
        files = []
        for animal, name in enumerate(track.names):
            ending = f"{name}_plot" if track.animals > 1 else "plot"
            stem = derived_stem(track, ending, arguments.out)
            files.append(stem.with_name(f"{stem.name}.png"))
            draw_track(track, files[-1], cutoff=arguments.cutoff, animal=animal)
        reports.append({"file": str(track.source), "written": [str(one) for one in files]})
    return _print_written(arguments, reports)


def embed(arguments: argparse.Namespace) -> int:
    """Map the poses of all files together."""
    from service.drawing.track_plots import draw_embedding

    tracks = list(_tracks(arguments))
    axis = _pair(arguments.axis) if arguments.axis else body_axis(tracks[0].keypoints)
    if axis is None:
        raise InvalidRequest(
            f"the ends of the body are not to be told from {', '.join(tracks[0].keypoints)}; "
            "give --axis FRONT:REAR"
        )
    module = analysis_module("embedding", "an embedding of poses")
    embedding = module.embed_poses(
        tracks,
        module.EmbeddingChoices(
            axis=axis,
            cutoff=arguments.cutoff,
            clusters=arguments.clusters,
            max_poses=arguments.max_poses,
            perplexity=arguments.perplexity,
            seed=arguments.seed,
        ),
    )
    stem = derived_stem(tracks[0], "poses", arguments.out)
    files = [stem.with_name(stem.name + suffix) for suffix in (".parquet", ".png")]
    with replacing(files[0]) as unfinished:
        module.embedding_table(embedding).to_parquet(unfinished, index=False)
    draw_embedding(embedding, files[1])
    report = {
        "files": [str(track.source) for track in tracks],
        "poses": len(embedding.poses),
        "found": embedding.found,
        "explained": [round(float(one), 4) for one in embedding.explained],
        "written": [str(one) for one in files],
    }
    return _print_written(arguments, [report])


def video(arguments: argparse.Namespace) -> int:
    """Draw labelled videos, several at once where asked."""
    if len(arguments.pairs) % 2 or arguments.parallel < 1:
        raise InvalidRequest(
            "name each video and the file of its predictions after it; --parallel is at least 1"
        )
    options = LabelledOptions(
        cutoff=arguments.cutoff,
        color_by=arguments.color_by,
        skeleton=not arguments.no_skeleton,
        trail_frames=arguments.trail,
        keypoints_only=arguments.keypoints_only,
        dot_px=arguments.dot_size,
        codec=arguments.codec,
        fps=arguments.fps,
        scale=arguments.scale,
        crop_xywh=_crop(arguments.crop),
        pictures=arguments.pictures,
    )
    jobs = []
    for source, path in zip(arguments.pairs[::2], arguments.pairs[1::2], strict=True):
        track = _read(arguments, path)
        stem = derived_stem(track, "labelled", arguments.out)
        jobs.append((source, track, stem.with_name(stem.name + suffix_of(options.codec))))
    outs = [out for _, _, out in jobs]
    if len(set(outs)) < len(outs):
        raise InvalidRequest("two of the videos would be written to one file; draw them apart")
    reports: list[Report] = []
    if min(arguments.parallel, len(jobs)) == 1:
        reports = [_draw_one(*job, options) for job in jobs]
    else:
        workers = min(arguments.parallel, len(jobs))
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            pending = [pool.submit(_draw_one, *job, options) for job in jobs]
            reports = [one.result() for one in as_completed(pending)]
    return _print_written(arguments, reports)


def _draw_one(source: Path, track: Track, out: Path, options: LabelledOptions) -> Report:
    drawn = draw_labelled(source, track, out, options)
    return {"file": str(track.source), "frames": drawn, "written": [str(out)]}


def quality(arguments: argparse.Namespace) -> int:
    """Judge tracks, and draw the worst frames where the video is given."""
    from service.drawing.contact_sheet import Tile, draw_contact_sheet
    from service.tracks.quality import judge_track, worst_frames
    from service.video.pyav import VideoFile

    if arguments.video and len(arguments.files) > 1:
        raise InvalidRequest("--video goes with one FILE; judge the others without it")
    choices = QualityChoices(
        cutoff=arguments.cutoff,
        jump_body_lengths=arguments.jump,
        return_body_lengths=arguments.back,
        axis=_pair(arguments.axis) if arguments.axis else None,
        left_right=tuple(_pair(one) for one in arguments.left_right) or None,
    )
    reports: list[Report] = []
    for track in _tracks_apart(arguments):
        if arguments.video and not track.frame_rate_hz:
            track = replace(track, frame_rate_hz=VideoFile(arguments.video).info.frame_rate_hz)
        judged = judge_track(track, choices)
        apart = max(1, round(track.frame_rate_hz / 2))
        worst = worst_frames(judged, arguments.frames, apart)
        stem = derived_stem(track, "quality", arguments.out)
        files = [stem.with_name(f"{stem.name}.json")]
        if arguments.video and worst:
            files.append(stem.with_name(f"{stem.name}.png"))
            draw_contact_sheet(
                arguments.video,
                track,
                [
                    Tile(
                        row=row,
                        caption=f"frame {track.frame_index[row]}   "
                        f"{judged.reasons[row] or f'{judged.badness[row]:.2f}'}",
                    )
                    for row in worst
                ],
                files[-1],
                cutoff=choices.cutoff,
                span_px=1.6 * judged.quality.body_length_px,
            )
        report = {
            **msgspec.to_builtins(judged.quality),
            "worst_frames": [
                {
                    "frame_index": int(track.frame_index[row]),
                    "badness": round(float(judged.badness[row]), 3),
                    "faults": judged.reasons[row],
                }
                for row in worst
            ],
        }
        with replacing(files[0]) as unfinished:
            unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        reports.append({**report, "written": [str(one) for one in files]})
        if not arguments.json:
            _print_quality(judged.quality)
    return _print_written(arguments, reports)


def _print_quality(found: TrackQuality) -> None:
    axis = f"{found.axis[0]} to {found.axis[1]}" if found.axis else "longest pair of keypoints"
    print(
        f"{found.source} ({found.model}): {found.frames} frames, {found.minutes:.2f} min; body "
        f"{found.body_length_px:.1f} px ({axis})"
    )
    print(
        f"  all keypoints at {found.cutoff:g} or above: {found.all_confident_share:.2%} of frames"
    )
    print(
        f"  frames with a jump: {found.jump_frames_per_minute:.2f}/min, with a jump and return: "
        f"{found.return_frames_per_minute:.2f}/min"
    )
    print(
        f"  {'keypoint':<16}{'confident':>10}{'jumps/min':>11}{'returns/min':>13}{'jitter px':>11}"
    )
    for one in found.keypoints:
        jitter = "-" if one.jitter_px is None else f"{one.jitter_px:.2f}"
        print(
            f"  {one.keypoint:<16}{one.confident_share:>10.2%}{one.jumps_per_minute:>11.2f}"
            f"{one.returns_per_minute:>13.2f}{jitter:>11}"
        )
    for side in found.sides:
        print(
            f"  {side.left} / {side.right}: wrong side in {side.wrong_side_share:.2%} of the "
            f"{side.judged_share:.2%} of frames judged, {side.exchanges_per_minute:.2f} "
            "exchanges/min"
        )
    if not found.sides:
        why = "--axis FRONT:REAR" if found.axis is None else "--left-right LEFT:RIGHT"
        print(f"  sides not judged: give {why}")


def _tracks(arguments: argparse.Namespace) -> "list[Track]":
    return [_read(arguments, path) for path in arguments.files]


def _tracks_apart(arguments: argparse.Namespace) -> "list[Track]":
    """Read tracks of which each has files of its own written."""
    tracks = _tracks(arguments)
    firsts: dict[Path, Path] = {}
    for track in tracks:
        stem = derived_stem(track, "", arguments.out)
        first = firsts.setdefault(stem, track.source)
        if first is not track.source:
            raise InvalidRequest(
                f"{first} and {track.source} would be written to the same files; run them apart, "
                "with another --out each"
            )
    return tracks


def _read(arguments: argparse.Namespace, path: Path) -> Track:
    track = read_tracks(path, arguments.model)
    if arguments.rate < 0:
        raise InvalidRequest(f"--rate is {arguments.rate:g}; give frames a second")
    if arguments.rate:
        track = replace(track, frame_rate_hz=arguments.rate, recorded_s=None)
    if arguments.skeleton:
        bones = tuple(_pair(one) for one in arguments.skeleton)
        track.places(bones)
        track = replace(track, skeleton=bones)
    return track


def _pair(text: str) -> tuple[str, str]:
    first, second = _names(text, 2)
    return first, second


def _names(text: str, count: int) -> list[str]:
    names = text.split(":")
    if len(names) != count or not all(names):
        example = ":".join("ABC"[:count])
        raise InvalidRequest(f"{text!r} is not {count} keypoints; write them as {example}")
    return names


def _crop(text: str | None) -> tuple[int, int, int, int] | None:
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise InvalidRequest(f"the crop {text!r} is not X,Y,W,H in whole px, such as 100,0,640,480")
    x, y, width, height = (int(part) for part in parts)
    return x, y, width, height


def _print_written(arguments: argparse.Namespace, reports: list[Report]) -> int:
    if arguments.json:
        print(json.dumps({"tracks": reports}))
        return 0
    for report in reports:
        for path in report["written"]:
            print(f"wrote {path}")
    return 0


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "convert": convert,
    "filter": filter_tracks,
    "kinematics": kinematics,
    "plot": plot,
    "embed": embed,
    "video": video,
    "quality": quality,
}
