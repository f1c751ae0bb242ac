"""What the service knows of a bundle, as protobuf messages."""

from ethostream.v1 import bundle_pb2

from service.bundle import Manifest
from service.repository import BundleStatus, LoadedBundle
from service.values import BundleVersion


def from_key(key: BundleVersion) -> bundle_pb2.BundleReference:
    """Write a BundleReference."""
    return bundle_pb2.BundleReference(name=key.name, version=key.version)


def from_loaded(loaded: LoadedBundle) -> bundle_pb2.BundleInfo:
    """Write the BundleInfo of a loaded bundle, without its documents."""
    message = _from_manifest(loaded.bundle.manifest)
    message.state = bundle_pb2.BUNDLE_STATE_READY
    message.engine = loaded.engine
    message.precision = loaded.precision
    message.manifest_sha256 = loaded.manifest_sha256
    return message


def from_status(status: BundleStatus, *, documents: bool = False) -> bundle_pb2.BundleInfo:
    """Write a BundleInfo; `documents` adds the card and the parity report."""
    if status.loaded is not None:
        message = from_loaded(status.loaded)
    elif status.bundle is not None:
        message = _from_manifest(status.bundle.manifest)
    else:
        message = bundle_pb2.BundleInfo(bundle=from_key(status.key))
    message.state = bundle_pb2.BundleState.ValueType(status.state)
    message.reason = status.reason
    if documents and status.bundle is not None:
        message.card = status.bundle.document("card")
        message.parity_json = status.bundle.document("parity")
    return message


def _from_manifest(manifest: Manifest) -> bundle_pb2.BundleInfo:
    message = bundle_pb2.BundleInfo(
        bundle=bundle_pb2.BundleReference(name=manifest.name, version=manifest.version),
        task=bundle_pb2.TASK_POSE if manifest.task == "pose" else bundle_pb2.TASK_BEHAVIOR,
        description=manifest.description,
        input_width_px=manifest.input.width_px,
        input_height_px=manifest.input.height_px,
        metrics=manifest.provenance.metrics,
    )
    if (pose := manifest.pose) is not None:
        message.pose.CopyFrom(
            bundle_pb2.PoseModel(
                keypoints=pose.keypoints,
                skeleton=[_pair(*one) for one in pose.skeleton],
                left_right=[_pair(*one) for one in pose.left_right],
                max_animals=pose.max_animals,
                unique_keypoints=pose.unique_keypoints,
                confidence_cutoff=pose.confidence_cutoff,
            )
        )
    if (behavior := manifest.behavior) is not None:
        message.behavior.CopyFrom(
            bundle_pb2.BehaviorModel(
                behaviors=behavior.behaviors,
                exclusive=behavior.exclusive,
                thresholds=behavior.thresholds,
                min_bout_frames=behavior.min_bout_frames,
                frame_rate_hz=behavior.frame_rate_hz,
                frame_rate_tolerance=behavior.frame_rate_tolerance,
                past_frames=behavior.context_frames,
                future_frames=behavior.future_frames,
                max_gap_frames=behavior.max_gap_frames,
            )
        )
    return message


def _pair(first: str, second: str) -> bundle_pb2.KeypointPair:
    return bundle_pb2.KeypointPair(first=first, second=second)
