"""The parity gate of a bundle that exists: one more engine and precision, on its labelled data.

The reference is the bundle's fp32 graph in ONNX Runtime on the CPU, which passed its own gate
against the trained network when the bundle was exported.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from export.parity import FASTEST_FIRST, ParityReport, ParityRow, Verdict, parity_row
from service.bundle import Bundle, Manifest, describe_file, read_bundle, write_manifest
from service.engine import default_threads, load_graph
from service.errors import InvalidConfig

_REFERENCE = ("onnxruntime", "fp32")


def gate_engine(directory: Path, data: Sequence[Path], *, engine: str, precision: str) -> ParityRow:
    """Judge an engine on the frames that the bundle knows least, and enter what was found into it.

    Where it passes, `precisions` of the bundle name it from now on; where it fails, they do not,
    and PARITY.json says why.

    Args:
        directory: folder of a bundle.
        data: the labelled data that its split.json names frames or recordings of; for imported
            bundles, any.
        engine: an engine that runs on this machine.
        precision: its precision.

    Raises:
        BundleInvalid: the bundle is damaged.
        EngineUnavailable: the engine does not run here.
        InvalidConfig: the bundle has no PARITY.json to enter it into.
        InvalidLabels: the data lacks frames of the split.
    """
    bundle = read_bundle(directory)
    text = bundle.document("parity")
    if not text:
        raise InvalidConfig(f"{directory} has no PARITY.json; export the bundle again")
    report = msgspec.json.decode(text, type=ParityReport)
    judge = _judge_pose if bundle.manifest.task == "pose" else _judge_behavior
    verdict = judge(bundle, data, engine, precision)
    row = parity_row(engine, precision, verdict)
    _enter(directory, bundle.manifest, report, row)
    return row


def _judge_pose(bundle: Bundle, data: Sequence[Path], engine: str, precision: str) -> Verdict:
    from export.pose import judge_pose
    from training.pose.evaluate import PoseMeasurement, measure_bundle
    from training.runs import Split

    text = bundle.document("split")
    part = msgspec.json.decode(text, type=Split).least_known if text else "test"

    def measured(engine: str, precision: str) -> PoseMeasurement:
        return measure_bundle(
            _allowing(bundle, engine, precision),
            data,
            part=part,
            engine=engine,
            precision=precision,
            threads=default_threads(),
        )

    wanted, found = measured(*_REFERENCE).parts[0], measured(engine, precision).parts[0]
    names = [example.name for example in wanted.examples]
    return judge_pose(precision, wanted.found, found.found, names=names)


def _judge_behavior(bundle: Bundle, data: Sequence[Path], engine: str, precision: str) -> Verdict:
    from export.behavior import PARITY_FRAMES, judge_behavior
    from training.behavior.evaluate import Prediction, choose_recordings, predict
    from training.data.behavior_frames import Footage, load_footage
    from training.data.behavior_labels import read_behavior_project

    manifest = bundle.manifest
    spec = manifest.behavior
    assert spec is not None, "a behavior bundle has the section `behavior`"
    project = read_behavior_project(data, exclusive=spec.exclusive, behaviors=spec.behaviors)
    footage: list[Footage] = []
    for recording in choose_recordings(bundle, project, "test")[1]:
        if sum(len(one.frames) for one in footage) < PARITY_FRAMES:
            footage += load_footage([recording], manifest.input)

    def measured(engine: str, precision: str) -> list[Prediction]:
        graphs = {
            name: load_graph(
                bundle, name, engine=engine, precision=precision, threads=default_threads()
            )
            for name in manifest.graph_names
        }
        return [predict(graphs, one, spec) for one in footage]

    return judge_behavior(precision, measured(*_REFERENCE), measured(engine, precision), spec)


def _allowing(bundle: Bundle, engine: str, precision: str) -> Bundle:
    """Return the bundle as if the precision had passed: this is the trial of it."""
    precisions = {**bundle.manifest.precisions, engine: (precision,)}
    manifest = msgspec.structs.replace(bundle.manifest, precisions=precisions)
    return Bundle(directory=bundle.directory, manifest=manifest)


def _enter(directory: Path, manifest: Manifest, report: ParityReport, row: ParityRow) -> None:
    """Write PARITY.json and bundle.json; the hash of the one stands in the other."""
    kept = [
        one for one in report.rows if (one.engine, one.precision) != (row.engine, row.precision)
    ]
    new = msgspec.structs.replace(report, rows=(*kept, row))
    passed = set(manifest.precisions.get(row.engine, ())) - {row.precision}
    if row.passed:
        passed.add(row.precision)
    precisions = tuple(sorted(passed, key=FASTEST_FIRST.index))
    unfinished = directory / ".PARITY.json"
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(new), indent=2) + b"\n")
    unfinished.replace(directory / "PARITY.json")
    documents = {**manifest.documents, "parity": describe_file(directory, "PARITY.json")}
    write_manifest(
        directory,
        msgspec.structs.replace(
            manifest,
            documents=documents,
            precisions={**manifest.precisions, row.engine: precisions},
        ),
    )
