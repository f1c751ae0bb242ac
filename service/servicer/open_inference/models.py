"""Shows bundles as models: their tensors, their configuration, where they are in their life."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.bundle import Manifest
from service.repository import BundleState, BundleStatus, LoadedBundle
from service.servicer.open_inference import open_inference_pb2 as pb2

FRAMES = "frames"
DATATYPES = {"uint8": "UINT8", "float32": "FP32", "bool": "BOOL"}
_TYPES = {"UINT8": pb2.TYPE_UINT8, "FP32": pb2.TYPE_FP32, "BOOL": pb2.TYPE_BOOL}
_ANY = -1
_STATES = {
    BundleState.READY: "READY",
    BundleState.LOADING: "LOADING",
    BundleState.AVAILABLE: "UNAVAILABLE",
    BundleState.FAILED: "UNAVAILABLE",
}


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    datatype: str
    shape: tuple[int, ...]
    """-1: any size."""


def output_names(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of a model's outputs."""
    return tuple(one.name for one in _outputs(manifest))


def to_metadata(loaded: LoadedBundle, versions: Sequence[int]) -> pb2.ModelMetadataResponse:
    """Write the tensors of a model; `versions` are those that are loaded."""
    manifest = loaded.bundle.manifest
    return pb2.ModelMetadataResponse(
        name=manifest.name,
        versions=[str(one) for one in versions],
        platform=loaded.engine,
        inputs=[_metadata(_FRAMES)],
        outputs=[_metadata(one) for one in _outputs(manifest)],
    )


def to_config(
    loaded: LoadedBundle, *, max_frames: int, batch_sizes: Sequence[int]
) -> pb2.ModelConfig:
    """Write the configuration of a model.

    Args:
        loaded: the bundle.
        max_frames: most frames of a request.
        batch_sizes: numbers of rows that the scheduler computes at once.
    """
    manifest = loaded.bundle.manifest
    batched = manifest.pose is not None
    leading = 1 if batched else 0
    config = pb2.ModelConfig(
        name=manifest.name,
        platform=loaded.engine,
        backend="ethostream",
        max_batch_size=max_frames if batched else 0,
        input=[
            pb2.ModelInput(
                name=_FRAMES.name,
                data_type=_TYPES[_FRAMES.datatype],
                format=pb2.ModelInput.FORMAT_NHWC if batched else pb2.ModelInput.FORMAT_NONE,
                dims=_FRAMES.shape[leading:],
            )
        ],
        output=[
            pb2.ModelOutput(name=one.name, data_type=_TYPES[one.datatype], dims=one.shape[leading:])
            for one in _outputs(manifest)
        ],
        model_transaction_policy=pb2.ModelTransactionPolicy(decoupled=False),
        parameters={
            key: pb2.ModelParameter(string_value=text)
            for key, text in _meaning(loaded, max_frames).items()
        },
    )
    if batched:
        config.dynamic_batching.preferred_batch_size.extend(batch_sizes)
    return config


def to_index(status: BundleStatus) -> pb2.RepositoryIndexResponse.ModelIndex:
    """Write one version of the repository."""
    return pb2.RepositoryIndexResponse.ModelIndex(
        name=status.key.name,
        version=str(status.key.version),
        state=_STATES[status.state],
        reason=status.reason,
    )


_FRAMES = _Tensor(FRAMES, "UINT8", (_ANY, _ANY, _ANY, _ANY))
"""Frames or time, rows, columns, 1 or 3 channels."""


def _outputs(manifest: Manifest) -> tuple[_Tensor, ...]:
    if (pose := manifest.pose) is not None:
        shape = (_ANY, pose.max_animals, len(pose.keypoints), 3)
        return (_Tensor("keypoints", "FP32", shape),)
    assert manifest.behavior is not None, "a bundle is of pose or behavior"
    count = len(manifest.behavior.behaviors)
    return (
        _Tensor("probabilities", "FP32", (_ANY, count)),
        _Tensor("present", "BOOL", (_ANY, count)),
        _Tensor("status", "UINT8", (_ANY,)),
    )


def _metadata(tensor: _Tensor) -> pb2.ModelMetadataResponse.TensorMetadata:
    return pb2.ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
    )


def _meaning(loaded: LoadedBundle, max_frames: int) -> dict[str, str]:
    """What the tensors mean; keys as in a bundle that is exported for Triton."""
    manifest = loaded.bundle.manifest
    meaning = {
        "bundle": manifest.name,
        "bundle_version": str(manifest.version),
        "precision": loaded.precision,
        "width_px": str(manifest.input.width_px),
        "height_px": str(manifest.input.height_px),
        "color": manifest.input.color,
        "fit": manifest.input.fit,
    }
    if (pose := manifest.pose) is not None:
        meaning["keypoints"] = ",".join(pose.keypoints)
    if (behavior := manifest.behavior) is not None:
        meaning["behaviors"] = ",".join(behavior.behaviors)
        meaning["thresholds"] = ",".join(map(str, behavior.thresholds))
        meaning["frame_rate_hz"] = f"{behavior.frame_rate_hz:g}"
        meaning["past_frames"] = str(behavior.context_frames)
        meaning["future_frames"] = str(behavior.future_frames)
        meaning["max_frames"] = str(max_frames)
    return meaning
