"""Says in words what a client sends to the models of a repository and what it gets back."""

from collections.abc import Iterator, Sequence

from export.triton.models import TritonModel
from service.bundle import BehaviorSpec, Bundle, InputSpec, PoseSpec
from service.engine import TensorSpec


def readme(bundle: Bundle, models: Sequence[TritonModel]) -> str:
    """Return the text of README.md."""
    manifest = bundle.manifest
    parts = [
        f"# {bundle.name}, version {bundle.version}, for Triton",
        manifest.description,
        f"License of the weights: {manifest.provenance.license}."
        + (" Accuracy and data: CARD.md." if bundle.document("card") else ""),
        "`tritonserver --model-repository FOLDER` serves this folder.",
        _models(models),
        _frames(manifest.input),
    ]
    if manifest.pose is not None:
        parts.append(_pose(manifest.pose))
    if manifest.behavior is not None:
        ensemble = any(one.graph is None for one in models)
        parts.extend(_behavior(bundle.name, manifest.behavior, ensemble=ensemble))
    return "\n\n".join(part for part in parts if part) + "\n"


def _models(models: Sequence[TritonModel]) -> str:
    rows = [
        f"| `{one.name}` | {_tensors(one.inputs)} | {_tensors(one.outputs)} |" for one in models
    ]
    note = "B, the number of rows, is free up to the largest batch of config.pbtxt; T is any number"
    return "\n".join(
        ["## Models", "", "| model | takes | gives |", "|---|---|---|", *rows, "", f"{note}."]
    )


def _tensors(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{one.name} {one.dtype.name} ({', '.join(_sizes(one))})" for one in specs)


def _sizes(spec: TensorSpec) -> Iterator[str]:
    yield "B"
    for size in spec.shape[1:]:
        yield "T" if size is None else str(size)


def _frames(spec: InputSpec) -> str:
    channels = "red, green, blue" if spec.color == "rgb" else "one of gray (BT.601 luma of colors)"
    lines = [
        "## Frames",
        "",
        f"Frames are uint8, {spec.height_px} rows of {spec.width_px} px, channels last: {channels}."
        " Values from 0 to 255 go in as they are; the graphs normalize them. To resize a frame of"
        " W x H px: bilinear with half-pixel centers, no antialias, rounded half to even.",
    ]
    if spec.fit == "letterbox":
        lines.append(
            f"The aspect is kept: scale s = min({spec.width_px} / W, {spec.height_px} / H), the"
            " picture takes round(W s) x round(H s) px from the top left corner, and the rest is 0."
        )
    else:
        lines.append(f"Each axis is scaled on its own to {spec.width_px} x {spec.height_px} px.")
    return "\n".join(lines)


def _pose(spec: PoseSpec) -> str:
    lines = [
        "## Answers",
        "",
        "`keypoints` holds, for each frame, animal and keypoint, x and y in px of the model input"
        " (pixel centers have whole numbers) and a confidence in [0, 1]. Where w px of the frame"
        " became v px of the model input, padding left out, x is at (x + 0.5) w / v - 0.5 px of the"
        " frame; y likewise.",
        f"From a confidence of {spec.confidence_cutoff:g} a point counts as found.",
        f"Keypoints, in order: {', '.join(spec.keypoints)}.",
    ]
    if spec.max_animals > 1:
        lines.append(
            f"Row n of {spec.max_animals} holds the n-th best place of each keypoint: rows are"
            " detections, not grouped into animals."
        )
    return "\n".join(lines)


def _behavior(name: str, spec: BehaviorSpec, *, ensemble: bool) -> Iterator[str]:
    later = spec.feature_future_frames
    yield "\n".join(
        [
            "## Windows",
            "",
            f"The networks look at {spec.frame_rate_hz:g} frames a second; take every n-th frame of"
            " a faster recording.",
            f"The features of a frame look at {spec.past_frames} frames before it and {later} after"
            f" it: {spec.flow_frames + 1} consecutive frames, oldest first, and the"
            f" {spec.flow_frames} flows between neighbors.",
            _missing(spec),
            _flow(name, spec, ensemble=ensemble),
            _sequence(spec),
            "Triton keeps neither windows nor state for these models: the client does, for each"
            " recording. ethostream's own server does it for its clients.",
        ]
    )
    yield "\n".join(["## Answers", "", *_answers(spec)])


def _missing(spec: BehaviorSpec) -> str:
    if spec.window_fill:
        fill = ", ".join(map(str, spec.window_fill))
        return (
            f"Before the first and after the last frame of a recording stand pictures of {fill} in"
            " every pixel, one value a channel."
        )
    return "Frames whose window is not full have no answer."


def _flow(name: str, spec: BehaviorSpec, *, ensemble: bool) -> str:
    if ensemble:
        frame = "" if spec.feature_input_frames > 1 else " and as `frame` the answered one"
        return (
            f"The flow graph takes the whole window, so that the ensemble `{name}` does both steps:"
            f" it takes the window as `frames`{frame}."
        )
    return (
        "The flow graph takes two neighbors; each flow is computed once and used by"
        f" {spec.flow_frames} windows. An ensemble of Triton cannot put the flows of several"
        " requests together, so there is none."
    )


def _sequence(spec: BehaviorSpec) -> str:
    if spec.sequence == "none":
        return "There is no sequence graph: `logits` of the features graph are the answer."
    if spec.sequence == "causal":
        return (
            "The sequence graph goes from frame to frame: it takes `features` (T = 1) and a state,"
            " zeros before the first frame, and gives `logits` and the state for the next frame."
        )
    return (
        f"The sequence graph takes the features of {spec.sequence_past_frames} frames before the"
        f" answered one, of itself and of {spec.sequence_future_frames} after it; `valid` is 1"
        " where there is a frame and 0 before the first and after the last one. The answer is the"
        f" row {spec.sequence_past_frames} of `logits`."
    )


def _answers(spec: BehaviorSpec) -> Iterator[str]:
    if spec.exclusive:
        yield "The softmax of `logits` is the probability of each behavior; the largest is present."
    else:
        yield "The sigmoid of `logits` is the probability of each behavior, on its own."
    yield (
        "Of a whole recording, gaps shorter than the shortest bout are filled first, then shorter"
        " bouts are removed."
    )
    yield ""
    yield "| behavior | present from | shortest bout, frames |"
    yield "|---|---|---|"
    for one in zip(spec.behaviors, spec.thresholds, spec.min_bout_frames, strict=True):
        name, threshold, bout = one
        yield f"| {name} | {'largest' if spec.exclusive else f'{threshold:g}'} | {bout} |"
