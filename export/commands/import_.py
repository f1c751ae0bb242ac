"""`ethostream import`: a model of another tool to a bundle that the service loads."""

import argparse
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from training.arguments import frame_size

if TYPE_CHECKING:  # the command's options must show without loading torch
    from export.importers.draft import ImportOptions
    from export.write_bundle import BundleDraft

SUMMARY = "import a model of another tool as a bundle, behind the same parity gate"

_NEVER_RUN = (
    "Weights are read without running what a file says: tensors, numbers and texts are taken, a "
    "pickle with code in it is refused."
)
_DLC = f"""Import DeepLabCut 3 (PyTorch).

SOURCE is a snapshot (.pt) beside its pytorch_config.yaml, the folder `train` that holds both (the
best snapshot is taken, or that of the last epoch), or a model of `deeplabcut.export_model` (.pt).
Supported: resnet_50 with GroupNorm or BatchNorm, resnet_101, hrnet_w18/w32/w48 with heat-map
heads; bottom-up with one animal, and top-down, whose detector is left out: give the crop around
the animal with each request, or use the dynamic crop.

  ethostream import dlc PROJECT/dlc-models-pytorch/iteration-0/.../train \\
      --out MODELS --name my-mouse --size 640x480 --frames videos/

{_NEVER_RUN}"""
_DEEPETHOGRAM = f"""Import DeepEthogram: presets deg_f, deg_m, deg_s with the sequence model tgmj.

SOURCE is the folder of a project, of which the newest trained feature extractor and sequence model
are taken, or the checkpoint of a feature extractor in it (which holds its flow generator, too).
Behaviors, size, colors and thresholds are read from the project and its trainings; the background
becomes what remains. The networks answer as DeepEthogram's own do, its known quirks included;
--no-quirks gives what its paper describes instead.

Three details of the wiring are not certain from what is published; --up-flow, --joined and --mixes
choose them. Compare with answers that DeepEthogram itself gave if it is at hand.

  ethostream import deepethogram my_deepethogram/ --out MODELS --name my-behaviors

{_NEVER_RUN}"""
_SLEAP = """Import SLEAP-NN.

SOURCE is a folder that `sleap-nn export --format onnx` wrote (model.onnx with its metadata) of a
model of type single_instance, centroid, topdown or bottomup. The animals of bottomup are not
grouped: rows are the best detections of each keypoint.

  ethostream import sleap exports/my_model --out MODELS --name my-fly --frames video.mp4"""
_LIGHTNING_POSE = """Import Lightning Pose.

SOURCE is the folder of a model with config.yaml and the ONNX file that `litpose export MODEL
--runtime onnx --onnx-precision fp32` wrote into exports_onnx/, or one such file. Heat-map models
of one view can be imported, not those that look at several frames or cameras.

  ethostream import lightning-pose outputs/2026-01-01/12-00-00 --out MODELS --name my-paw"""
ONNX_HELP = """Import any ONNX file.

A TOML file beside SOURCE, or named with --config, says what the tensors mean; preprocessing and
decoding then become part of the graph. The graph has one input and a dynamic batch axis, or a
fixed one that it does not depend on.

  keypoints = ["snout", "leftear", "rightear", "tailbase"]
  left_right = [["leftear", "rightear"]]      # optional, as are skeleton and unique_keypoints

  [input]                 # the graph takes (pixel * scale - mean) / std
  width_px = 256
  height_px = 256
  layout = "NCHW"         # or NHWC
  color = "rgb"           # or bgr, gray
  scale = 0.00392157      # 1/255 unless stated
  mean = [0.485, 0.456, 0.406]
  std = [0.229, 0.224, 0.225]
  fit = "letterbox"       # or stretch

  [answer]
  kind = "heatmaps"       # the largest cell of each map
  maps = "heatmaps"       # name of the output
  stride_px = 8           # px per cell; divided from the sizes unless stated
  origin_px = 3.5         # where the first cell is; its middle unless stated
  sigmoid = false         # true where the maps are logits
  offsets = "locref"      # optional output (B, 2K, h, w) with x and y of each keypoint
  offset_unit_px = 7.2801
  refine = "none"         # or quarter, lightning-pose

or, in place of that [answer],

  [answer]
  kind = "keypoints"      # the graph answers coordinates
  points = "peaks"        # x and y, or x, y and confidence, on the last axis
  confidence = "peak_vals"
  order = "K"             # or NK (animals, keypoints), KN, N (animals of one keypoint)
  units = "px"            # of the input; or share of its width and height

or kind = "simcc" with x, y (names of the outputs) and split_ratio, as RTMPose answers.

  ethostream import onnx pose.onnx --config pose.toml --out MODELS --name my-rat"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add one command for each tool."""
    tools = parser.add_subparsers(dest="tool", metavar="TOOL", required=True)
    for name, summary, text in (
        ("dlc", "DeepLabCut 3 snapshots and exported models", _DLC),
        ("deepethogram", "DeepEthogram projects", _DEEPETHOGRAM),
        ("sleap", "export folders of SLEAP-NN", _SLEAP),
        ("lightning-pose", "Lightning Pose models with an ONNX export", _LIGHTNING_POSE),
        ("onnx", "any ONNX file with a description of its tensors", ONNX_HELP),
    ):
        tool = tools.add_parser(
            name,
            help=summary,
            description=text,
            formatter_class=parser.formatter_class,
        )
        _add_common(tool)
        if name in ("dlc", "onnx"):
            tool.add_argument(
                "--animals",
                type=int,
                default=1,
                help="answer this many local maxima of each heat map, not grouped (default: 1)",
            )
        if name in ("dlc", "deepethogram"):
            tool.add_argument(
                "--size",
                type=frame_size,
                metavar="WIDTHxHEIGHT",
                help="model input, px (default: that of the crop or the project; else of --frames)",
            )
        if name != "deepethogram":
            tool.add_argument(
                "--config",
                type=Path,
                metavar="FILE",
                help="configuration, metadata or description that does not lie beside the model",
            )
        else:
            _add_deepethogram(tool)


def run(arguments: argparse.Namespace) -> int:
    """Import and print where the bundle is."""
    from export.importers.draft import ImportOptions
    from export.write_bundle import bundle_size_bytes, choose_version, write_bundle

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    version = choose_version(
        arguments.out, arguments.name, version=arguments.version, replace=arguments.replace
    )
    options = ImportOptions(
        frames=arguments.frames,
        most_frames=arguments.most_frames,
        int8=arguments.int8,
        size_px=getattr(arguments, "size", None),
        animals=getattr(arguments, "animals", 1),
        config=getattr(arguments, "config", None),
        description=arguments.description,
        license=arguments.license,
        about=arguments.about.read_text(encoding="utf-8") if arguments.about else "",
    )
    if arguments.frames is None:
        print("no --frames: the gate looks at simulated frames")
    with tempfile.TemporaryDirectory() as folder:
        draft = _importer(arguments)(arguments.source, Path(folder), options)
        bundle = write_bundle(
            arguments.out, arguments.name, draft, version=version, replace=arguments.replace
        )
    manifest = bundle.manifest
    print(f"{bundle.directory}: {bundle_size_bytes(bundle) / 1e6:.2f} MB")
    print(f"passed the gate: {manifest.precisions} against {draft.parity.reference}")
    if manifest.behavior is not None:
        spec = manifest.behavior
        for name, value in manifest.provenance.metrics.items():
            print(f"  {name}: {value:.1%} (frames as DeepEthogram's own outputs have them)")
        for name, value in zip(spec.behaviors, spec.thresholds, strict=True):
            print(f"  {name}: threshold {value:g}")
    return 0


def _importer(
    arguments: argparse.Namespace,
) -> "Callable[[Path, Path, ImportOptions], BundleDraft]":
    match arguments.tool:
        case "dlc":
            from export.importers.dlc import draft_bundle
        case "sleap":
            from export.importers.sleap import draft_bundle
        case "lightning-pose":
            from export.importers.lightning_pose import draft_bundle
        case "onnx":
            from export.importers.described import draft_bundle
        case _:
            return _deepethogram(arguments)
    return draft_bundle


def _deepethogram(
    arguments: argparse.Namespace,
) -> "Callable[[Path, Path, ImportOptions], BundleDraft]":
    from functools import partial

    from export.importers.deepethogram import DeepEthogramOptions, draft_bundle
    from training.behavior.deepethogram_weights import Wiring

    chosen = DeepEthogramOptions(
        features=arguments.features,
        sequence=arguments.sequence,
        with_sequence=not arguments.no_sequence,
        thresholds=dict(arguments.threshold),
        frame_rate_hz=arguments.frame_rate,
        wiring=Wiring(
            as_trained=not arguments.no_quirks,
            up_flow_factor=arguments.up_flow,
            joined=arguments.joined,
            mixes=arguments.mixes,
        ),
    )
    return partial(draft_bundle, chosen=chosen)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="what is imported; see above")
    add("--out", type=Path, required=True, help="model folder, <name>/<version>/")
    add("--name", required=True, help="name of the bundle")
    add("--version", type=int, help="version from 1 (default: the next free one)")
    add("--replace", action="store_true", help="overwrite that version")
    add(
        "--frames",
        type=Path,
        metavar="PATH",
        help="what the gate looks at: a video, a folder of pictures or videos, or labelled data; "
        "name some of the kind that the model was trained on (default: simulated frames)",
    )
    add(
        "--most-frames",
        type=int,
        default=64,
        metavar="N",
        help="frames that the gate looks at (default: 64)",
    )
    add(
        "--int8",
        action="store_true",
        help="quantize as well, calibrated on other of the --frames; shipped where an engine "
        "passes the gate with it",
    )
    add("--description", default="", help="one sentence for lists of models")
    add("--license", default="not stated", help="license of the weights (default: not stated)")
    add("--about", type=Path, metavar="FILE", help="Markdown for the card: data, intended use")


def _add_deepethogram(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--features", type=Path, metavar="PATH", help="checkpoint or run of the feature extractor")
    add("--sequence", type=Path, metavar="PATH", help="checkpoint or run of the sequence model")
    add("--no-sequence", action="store_true", help="answer with the feature extractor alone")
    add(
        "--threshold",
        type=_threshold,
        action="append",
        default=[],
        metavar="BEHAVIOR=VALUE",
        help="threshold in (0, 1) instead of the one that is found; repeat for several",
    )
    add(
        "--frame-rate",
        type=float,
        metavar="HZ",
        help="of the recordings that were trained on (default: that of the project's first video)",
    )
    add("--no-quirks", action="store_true", help="what the paper describes, not what was trained")
    add(
        "--up-flow",
        type=int,
        choices=(1, 2),
        default=2,
        help="factor of a flow that is brought to the next finer scale (default: 2)",
    )
    add(
        "--joined",
        choices=("encoder-first", "decoder-first"),
        default="encoder-first",
        help="what comes first where the flow generator joins maps (default: encoder-first)",
    )
    add(
        "--mixes",
        choices=("output-first", "input-first"),
        default="output-first",
        help="order of soft_attn in the sequence model (default: output-first)",
    )


def _threshold(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not name or not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no threshold; write it like grooming=0.4")
    return name, number
