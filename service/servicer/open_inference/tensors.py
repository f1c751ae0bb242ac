"""Between tensors of the protocol and arrays: typed or raw, checked before a byte is looked at."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.servicer.open_inference import open_inference_pb2 as pb2
from service.servicer.open_inference.models import DATATYPES, FRAMES
from service.values import BehaviorAnswer, BundleVersion, Poses

_WITHOUT_EFFECT = ("priority", "timeout", "triton_enable_empty_final_response")
"""Parameters that Triton's tools send: one class of work, no queue policy, one response each."""
_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")
_EXAMPLE = "[frames, rows, columns, 1 or 3], such as [1, 480, 640, 1]"


Shape = tuple[int, int, int, int]
"""(B, H, W, C) of frames."""


def read_shape(request: pb2.ModelInferRequest) -> Shape:
    """Return the shape of a request's frames, which has as many values as it says.

    Raises:
        InvalidRequest: another input, type, number of axes or number of values; a parameter that
            would change the answer.
    """
    _check_parameters(request)
    names = [one.name for one in request.inputs]
    if names != [FRAMES]:
        raise InvalidRequest(
            f"the request has the inputs {', '.join(names) or 'none'}; send one, `{FRAMES}`"
        )
    (tensor,) = request.inputs
    if tensor.parameters:
        raise InvalidRequest(
            f"the input {FRAMES} has the parameters {', '.join(sorted(tensor.parameters))}; send "
            "its values in the message: shared memory is not offered"
        )
    if tensor.datatype != "UINT8":
        raise InvalidRequest(
            f"the input {FRAMES} is {tensor.datatype or 'of no type'}; send UINT8 from 0 to 255 as "
            "a camera gives them: the server resizes and normalizes"
        )
    shape = list(tensor.shape)
    if len(shape) != 4 or min(shape) < 1:
        raise InvalidRequest(f"the input {FRAMES} has the shape {shape}; send {_EXAMPLE}")
    expected = math.prod(shape)
    raw = list(request.raw_input_contents)
    if raw and (tensor.HasField("contents") or len(raw) != 1):
        raise InvalidRequest(
            f"the request has raw_input_contents of {len(raw)} inputs"
            f"{' and contents' if tensor.HasField('contents') else ''}; send either, once"
        )
    values = len(raw[0]) if raw else len(tensor.contents.uint_contents)
    if values != expected:
        what = f"{values} bytes" if raw else f"{values} values in contents.uint_contents"
        raise InvalidRequest(
            f"the input {FRAMES} has {what}, but the shape {shape} has {expected} values of UINT8; "
            "send the shape that the pixels have"
        )
    frames, rows, columns, channels = shape
    return frames, rows, columns, channels


def read_frames(request: pb2.ModelInferRequest, shape: Shape) -> NDArray[np.uint8]:
    """Return the frames of a request, which have the shape that `read_shape` told.

    Raw ones are not copied; many typed ones take long.

    Raises:
        InvalidRequest: a typed value is above 255.
    """
    if request.raw_input_contents:
        return np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(shape)
    values = np.array(request.inputs[0].contents.uint_contents, np.uint32)
    if values.max() > 255:
        raise InvalidRequest(
            f"the input {FRAMES} holds the value {values.max()}; UINT8 goes from 0 to 255"
        )
    return values.astype(np.uint8).reshape(shape)


def wanted_outputs(request: pb2.ModelInferRequest, offered: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the outputs that a request asks for; all where it names none.

    Raises:
        InvalidRequest: an output that the model does not have, or one with a parameter.
    """
    for one in request.outputs:
        if one.name not in offered:
            raise InvalidRequest(
                f"{request.model_name} has no output {one.name!r}; it has {', '.join(offered)}"
            )
        if one.parameters:
            raise InvalidRequest(
                f"the output {one.name} has the parameters {', '.join(sorted(one.parameters))}; "
                "ask for it without: shared memory and classification are not offered"
            )
    return tuple(one.name for one in request.outputs) or offered


def to_response(
    request: pb2.ModelInferRequest,
    key: BundleVersion,
    outputs: Mapping[str, NDArray[Any]],
    wanted: tuple[str, ...],
) -> pb2.ModelInferResponse:
    """Write the wanted outputs, typed where the request was typed."""
    response = pb2.ModelInferResponse(
        model_name=key.name, model_version=str(key.version), id=request.id
    )
    for name in wanted:
        array = outputs[name]
        tensor = response.outputs.add(
            name=name, datatype=DATATYPES[array.dtype.name], shape=array.shape
        )
        if request.raw_input_contents:
            response.raw_output_contents.append(array.tobytes())
        else:
            tensor.contents.CopyFrom(_contents(array))
    return response


def pose_outputs(poses: list[Poses]) -> dict[str, NDArray[Any]]:
    """Put the poses of B frames together."""
    keypoints = [
        np.concatenate([one.keypoints_xy, one.confidence[..., None]], axis=-1) for one in poses
    ]
    return {"keypoints": np.stack(keypoints).astype(np.float32, copy=False)}


def behavior_outputs(answers: list[BehaviorAnswer], behaviors: int) -> dict[str, NDArray[Any]]:
    """Put the answers of T frames together."""
    probabilities = np.full((len(answers), behaviors), np.nan, np.float32)
    present = np.zeros((len(answers), behaviors), np.bool_)
    for row, answer in enumerate(answers):
        if answer.probabilities is not None and answer.present is not None:
            probabilities[row], present[row] = answer.probabilities, answer.present
    status = np.array([int(one.status) for one in answers], np.uint8)
    return {"probabilities": probabilities, "present": present, "status": status}


def _check_parameters(request: pb2.ModelInferRequest) -> None:
    for name in request.parameters:
        if name in _SEQUENCES:
            raise InvalidRequest(
                f"the request has the parameter {name}, but no state is kept between requests; "
                "send frames that belong together in one request, or over StreamFrames"
            )
        if name not in _WITHOUT_EFFECT:
            raise InvalidRequest(f"the request has the parameter {name}, which is not known here")


def _contents(array: NDArray[Any]) -> pb2.InferTensorContents:
    values = array.ravel().tolist()
    if array.dtype == np.bool_:
        return pb2.InferTensorContents(bool_contents=values)
    if array.dtype == np.uint8:
        return pb2.InferTensorContents(uint_contents=values)
    return pb2.InferTensorContents(fp32_contents=values)
