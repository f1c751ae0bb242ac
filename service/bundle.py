"""A bundle: one version of a trained model on disk, as `export` writes it and the service reads it.

`MODELS/<name>/<version>/bundle.json` is a `Manifest`; it names every other file with its SHA-256.
A bundle is data: nothing in it is executed, and nothing is loaded whose hash does not match.

Tensor names of the graphs (axes as in `service/__init__.py`):

pose      frames uint8 (B, H, W, 3 or 1)      -> keypoints float32 (B, N, K, 3)
flow      frames uint8 (B, T, H, W, 3 or 1)   -> flows float32 (B, T-1, 2, H/2, W/2)
features  frames uint8 (B, H, W, 3 or 1), or
          (B, F+1, H, W, 3 or 1),
          flows float32 (B, F, 2, H/2, W/2)   -> features float32 (B, D), logits float32 (B, C)
sequence  features float32 (B, T, D),
          state float32 (B, S)                -> logits float32 (B, T, C), next_state float32 (B, S)
          or, with a window,
          features float32 (B, T, D),
          valid float32 (B, T)                -> logits float32 (B, T, C)

keypoints are (x, y, confidence) in px of the model input. A state of zeros starts a recording.
`valid` is 1 where there is a frame and 0 before the first and after the last one of a recording.
Every axis B, and T of the sequence graph, is dynamic; T of the flow graph is fixed.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from service.errors import BundleInvalid, BundleNotFound

Task = Literal["pose", "behavior"]
FORMAT_VERSION = 1
_HASH_BLOCK_BYTES = 1 << 20


class InputSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the graphs take: pixels of one size and color, and how a frame is brought to it."""

    width_px: int
    height_px: int
    color: Literal["rgb", "gray"]
    fit: Literal["stretch", "letterbox"]
    """stretch: both axes scaled to the size; letterbox: aspect kept, padded with black at the
    right or bottom."""

    def __post_init__(self) -> None:
        """Refuse sizes that no graph can have."""
        if self.width_px < 16 or self.height_px < 16 or self.width_px % 2 or self.height_px % 2:
            raise BundleInvalid(
                f"the model input is {self.width_px}x{self.height_px} px; "
                "both sides must be even and at least 16"
            )

    @property
    def channels(self) -> int:
        """3 for rgb, 1 for gray."""
        return 3 if self.color == "rgb" else 1


class PoseSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pose bundle answers."""

    keypoints: tuple[str, ...]
    """Names in the order of axis K."""
    skeleton: tuple[tuple[str, str], ...] = ()
    """Pairs of keypoint names that are drawn connected."""
    left_right: tuple[tuple[str, str], ...] = ()
    """Pairs that change places when a picture is mirrored."""
    max_animals: int = 1
    """N, the length of the animals axis. Where it is more than 1, row n holds the n-th best local
    maximum of each keypoint: rows are detections, not grouped into animals."""
    unique_keypoints: tuple[str, ...] = ()
    """Keypoints that exist once in the scene, such as corners of the arena: only in row 0, with
    confidence 0 in the others."""
    confidence_cutoff: float = 0.6
    """Confidence in [0, 1] from which a point counts as found, as the card's figures take it."""


class BehaviorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a behavior bundle answers, and which frames an answer looks at."""

    behaviors: tuple[str, ...]
    """Names in the order of axis C. Exclusive bundles begin with `background`; multi-label
    bundles leave it out, since it is `none of the others`."""
    exclusive: bool
    """True: softmax, one behavior a frame. False: sigmoid, any number of behaviors a frame."""
    thresholds: tuple[float, ...]
    """Probability in (0, 1) from which a behavior is present, one each. Exclusive bundles take
    the most probable behavior instead."""
    min_bout_frames: tuple[int, ...]
    """Shortest bout that is kept, in frames at frame_rate_hz, one each; 1 keeps all."""
    frame_rate_hz: float
    """Rate of the recordings that it was trained on."""
    frame_rate_tolerance: float = 0.1
    """Largest relative deviation from a whole multiple of frame_rate_hz that is accepted."""
    flow_frames: int
    """F, the number of consecutive flows that the features graph takes."""
    past_frames: int
    """Frames before an answered one that its features look at."""
    future_frames: int
    """Look-ahead: an answer waits for this many frames after its frame; 0 for causal bundles."""
    flow_input_frames: int = 2
    """Frames that the flow graph takes: 2, so that each flow is computed once; or F + 1, all that
    the features look at, so that the graph runs once a frame."""
    feature_input_frames: int = 1
    """Frames that the features graph takes: 1, the answered one; or F + 1."""
    window_fill: tuple[int, ...] = ()
    """Gray levels, one a channel, that stand for frames before the first and after the last one
    of a recording. Without any, a frame whose window is not full answers NO_CONTEXT."""
    sequence: Literal["causal", "window", "none"] = "causal"
    """causal: the sequence graph carries a state from frame to frame; window: it looks at
    features before and after a frame; none: the logits of the features graph are the answer."""
    sequence_past_frames: int = 0
    """window: frames before an answered one whose features the sequence looks at."""
    sequence_future_frames: int = 0
    """window: frames after an answered one whose features the sequence looks at."""
    feature_size: int
    """D."""
    state_size: int
    """S, length of the sequence state that is carried from frame to frame."""
    state_frames: int | None = None
    """causal: frames after which nothing of a frame is left in the state, so that an interrupted
    video can go on from its middle; None where it may keep anything."""
    max_gap_frames: int = 2
    """Longest run of missing frames that the window bridges by repeating the last frame; a
    longer one resets it."""

    def __post_init__(self) -> None:
        """Check the lengths that must agree and the ranges."""
        count = len(self.behaviors)
        if not count or len(self.thresholds) != count or len(self.min_bout_frames) != count:
            raise BundleInvalid(
                f"{count} behaviors, {len(self.thresholds)} thresholds and "
                f"{len(self.min_bout_frames)} shortest bouts; give one of each per behavior"
            )
        if self.exclusive != (self.behaviors[0] == "background"):
            raise BundleInvalid(
                "exclusive bundles name `background` first and multi-label bundles leave it out; "
                f"exclusive is {self.exclusive} and the behaviors are {', '.join(self.behaviors)}"
            )
        if self.frame_rate_hz <= 0:
            raise BundleInvalid(f"frame_rate_hz is {self.frame_rate_hz}; it must be positive")
        if self.feature_future_frames < 0 or (
            self.past_frames + self.feature_future_frames != self.flow_frames
        ):
            raise BundleInvalid(
                f"features of {self.flow_frames} flows look at {self.past_frames} frames before "
                f"and {self.feature_future_frames} after a frame; the two must add up to the flows"
            )
        for name in ("flow_input_frames", "feature_input_frames"):
            least = 2 if name == "flow_input_frames" else 1
            if getattr(self, name) not in (least, self.flow_frames + 1):
                raise BundleInvalid(
                    f"{name} is {getattr(self, name)}; it must be {least} or {self.flow_frames + 1}"
                )
        if self.sequence != "window" and (self.sequence_past_frames or self.sequence_future_frames):
            raise BundleInvalid(
                f"a sequence of kind {self.sequence} has no window, but sequence_past_frames is "
                f"{self.sequence_past_frames} and sequence_future_frames "
                f"{self.sequence_future_frames}; leave them 0"
            )

    @property
    def feature_future_frames(self) -> int:
        """Frames after an answered one that its features look at."""
        return self.future_frames - self.sequence_future_frames

    @property
    def memory_frames(self) -> int | None:
        """Evaluated frames before an answered one that its answer depends on; None: on all."""
        if self.sequence == "causal" and self.state_size:
            if self.state_frames is None:
                return None
            return self.past_frames + self.state_frames
        return self.past_frames + self.sequence_past_frames

    @property
    def context_frames(self) -> int:
        """Frames that must come before an answered one; 0 where the ends are filled."""
        return 0 if self.window_fill else self.past_frames


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of the bundle."""

    path: str
    """Relative to the bundle's folder, inside it."""
    sha256: str
    size_bytes: int


class EngineEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine that was built ahead from one graph of the bundle."""

    runtime: Literal["tensorrt", "tensorrt-rtx"]
    runtime_version: str
    """Version of the library that built it; no other one is asked to read it."""
    gpu: str
    """GPU that it was built for as `<name> sm_<major><minor>`, such as `NVIDIA H200 sm_90`; or
    for TensorRT-RTX the targets alone, such as `sm_86`."""
    graph: str
    """Name of the graph: pose, flow, features or sequence."""
    precision: Literal["fp32", "fp16", "int8"]
    source_sha256: str
    """SHA-256 of the ONNX file of this bundle that it was built from; fp16 is made of the fp32
    file by the builder."""
    batch_sizes: tuple[int, ...]
    """Numbers of rows that it computes, one optimization profile each, in increasing order."""
    file: FileEntry


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the model comes from."""

    run: str
    """Name of the training run."""
    code_commit: str
    data: str
    """Name and source of the labelled data."""
    data_sha256: str
    license: str
    metrics: dict[str, float] = {}
    """Held-out figures of the card, such as mean_error_px or macro_f1."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of bundle.json."""

    format_version: int = FORMAT_VERSION
    name: str
    version: int
    task: Task
    description: str
    input: InputSpec
    pose: PoseSpec | None = None
    behavior: BehaviorSpec | None = None
    graphs: dict[str, FileEntry]
    """ONNX graphs by name: pose; or flow, features and, mostly, sequence."""
    quantized: dict[str, FileEntry] = {}
    """int8 graphs (QDQ) by graph name, `<graph>.int8.onnx`; a graph without one is computed from
    its file in `graphs` whatever the precision."""
    engines: tuple[EngineEntry, ...] = ()
    """Engines built ahead from the graphs for certain GPUs."""
    documents: dict[str, FileEntry] = {}
    """PARITY.json and CARD.md by name `parity` and `card`."""
    precisions: dict[str, tuple[str, ...]] = {}
    """Engine name to the precisions that passed the parity gate, best first, such as
    {"openvino": ["bf16", "fp32"], "onnxruntime": ["fp32"]}."""
    provenance: Provenance

    def __post_init__(self) -> None:
        """Check that the task's parts are all there."""
        if self.format_version != FORMAT_VERSION:
            raise BundleInvalid(
                f"bundle {self.name} has format {self.format_version}; this program reads "
                f"format {FORMAT_VERSION}; export it again with this version of ethostream"
            )
        if self.version < 1:
            raise BundleInvalid(f"bundle {self.name} has version {self.version}; start at 1")
        if (self.task == "pose") != (self.pose is not None) or (self.task == "behavior") != (
            self.behavior is not None
        ):
            raise BundleInvalid(
                f"bundle {self.name} has task {self.task}; it must hold the section "
                f"`{self.task}` and no other"
            )
        missing = [name for name in self.graph_names if name not in self.graphs]
        if missing:
            raise BundleInvalid(
                f"bundle {self.name} lacks the graph {', '.join(missing)}; export it again"
            )
        for graph in (*self.quantized, *(one.graph for one in self.engines)):
            if graph not in self.graphs:
                raise BundleInvalid(
                    f"bundle {self.name} has an int8 graph or an engine of {graph!r}, which is "
                    f"none of its graphs {', '.join(self.graphs)}; export it again"
                )
        for engine in self.engines:
            source = self.source(engine.graph, engine.precision)
            if engine.source_sha256 != source.sha256:
                raise BundleInvalid(
                    f"the engine {engine.file.path} of bundle {self.name} was built from a graph "
                    f"with SHA-256 {engine.source_sha256[:12]}…, but {source.path} has "
                    f"{source.sha256[:12]}…; build it again with `ethostream export "
                    f"FOLDER_OF_THE_BUNDLE --engine {engine.runtime}`"
                )
        fill = self.behavior.window_fill if self.behavior is not None else ()
        if fill and (len(fill) != self.input.channels or not all(0 <= one <= 255 for one in fill)):
            raise BundleInvalid(
                f"bundle {self.name} has window_fill {fill}; give {self.input.channels} gray "
                "levels from 0 to 255"
            )

    @property
    def graph_names(self) -> tuple[str, ...]:
        """The graphs that answer a frame, in the order of its way."""
        if self.behavior is None:
            return ("pose",)
        parts = ("flow", "features", "sequence")
        return parts[:2] if self.behavior.sequence == "none" else parts

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Every file that the manifest names."""
        engines = (one.file for one in self.engines)
        named = (self.graphs, self.quantized, self.documents)
        return (*(entry for files in named for entry in files.values()), *engines)

    def source(self, graph: str, precision: str) -> FileEntry:
        """Return the ONNX file that `graph` is computed from in `precision`."""
        if precision == "int8" and graph in self.quantized:
            return self.quantized[graph]
        return self.graphs[graph]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files were all found and match their hashes."""

    directory: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Name of the bundle."""
        return self.manifest.name

    @property
    def version(self) -> int:
        """Version, a whole number from 1."""
        return self.manifest.version

    def graph_path(self, graph: str, precision: str = "fp32") -> Path:
        """Path of an ONNX graph by its name (pose, flow, features, sequence).

        It is the int8 file where `precision` is int8 and the graph has one, else the fp32 file.
        """
        return self.directory / self.manifest.source(graph, precision).path

    def document(self, name: str) -> str:
        """Text of a document (`card`, `parity`); empty where the bundle has none."""
        entry = self.manifest.documents.get(name)
        return (self.directory / entry.path).read_text(encoding="utf-8") if entry else ""


def read_bundle(directory: Path) -> Bundle:
    """Read `directory`/bundle.json and verify every file that it names.

    Raises:
        BundleInvalid: bundle.json is missing or malformed, a file is missing, lies outside the
            folder, or has another hash.
    """
    path = directory / "bundle.json"
    if not path.is_file():
        raise BundleInvalid(f"{path} does not exist; a bundle folder holds a bundle.json")
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleInvalid(f"{path} is not a bundle manifest: {error}") from error
    root = directory.resolve()
    for entry in manifest.files:
        _verify(root, entry, manifest.name)
    return Bundle(directory=directory, manifest=manifest)


def write_manifest(directory: Path, manifest: Manifest) -> Path:
    """Write `manifest` as `directory`/bundle.json at once; the files it names must be there."""
    path = directory / "bundle.json"
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    unfinished = directory / ".bundle.json"
    unfinished.write_bytes(text + b"\n")
    return unfinished.replace(path)


def describe_file(directory: Path, name: str) -> FileEntry:
    """Return the entry (hash and size) of the file `name` in `directory`."""
    path = directory / name
    return FileEntry(path=name, sha256=file_sha256(path), size_bytes=path.stat().st_size)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def find_bundles(models: Path) -> dict[str, dict[int, Path]]:
    """List the folders of a model repository: name to version to folder.

    Raises:
        BundleNotFound: `models` is not a folder.
    """
    if not models.is_dir():
        raise BundleNotFound(
            f"the model folder {models} does not exist; name one that holds <name>/<version>/"
        )
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(models.glob("*/*/bundle.json")):
        folder = path.parent
        if folder.name.isdecimal() and not folder.parent.name.startswith("."):
            found.setdefault(folder.parent.name, {})[int(folder.name)] = folder
    return found


def _verify(root: Path, entry: FileEntry, bundle: str) -> None:
    path = (root / entry.path).resolve()
    if not path.is_relative_to(root):
        raise BundleInvalid(
            f"bundle {bundle} names {entry.path}, which lies outside its folder; export it again"
        )
    if not path.is_file():
        raise BundleInvalid(f"bundle {bundle} lacks the file {entry.path}; copy it or export again")
    found = file_sha256(path)
    if found != entry.sha256:
        raise BundleInvalid(
            f"{entry.path} of bundle {bundle} has SHA-256 {found[:12]}…, but bundle.json says "
            f"{entry.sha256[:12]}…; the file was changed or damaged: copy it again"
        )
