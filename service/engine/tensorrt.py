"""TensorRT and TensorRT-RTX: engines that were built ahead, one optimization profile a bucket.

Each bucket of rows has its own execution context, buffers and CUDA graph, so that a batch costs
one copy in, one launch and one copy out on the engine's own stream.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from service.engine.base import DeviceTensors, Tensors, TensorSpec
from service.engine.cuda import Buffer, Recording, Stream, find_gpu
from service.engine.device import DeviceArray, Rows
from service.engine.rows import bucket_for, check_rows, count_rows, joined, split_rows
from service.engine.tensorrt_library import Library, load_library
from service.errors import BundleInvalid, EngineFailed, EngineUnavailable

log = structlog.get_logger("ethostream.engine")

_UNFIT = ("VERSION_MISMATCH", "UNSUPPORTED_CC", "OLD_CUDA_DRIVER", "OLD_CUDA_RUNTIME")
"""What TensorRT-RTX says of an engine that is whole, but not for this machine."""


class TensorRtEngine:
    """One built engine on the GPU."""

    takes_device_rows = True

    def __init__(self, plan: Path, *, runtime: str, precision: str) -> None:
        library = load_library(runtime)
        self.engine = f"{runtime}:cuda"
        self.precision = precision
        self._library = library
        data = plan.read_bytes()
        self._logger = library.logger()
        self._runtime = library.api.Runtime(self._logger)
        _refuse_malformed(library, self._runtime, data, plan)
        find_gpu()
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise BundleInvalid(
                f"{library.title} {library.version} cannot read the engine {plan.name}: "
                f"{'; '.join(self._logger.messages) or 'it gives no reason'}; build it again with "
                f"`ethostream export {plan.parent} --engine {runtime}`"
            )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        wanted = library.api.TensorIOMode.INPUT
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == wanted]
        self.inputs = tuple(self._spec(name) for name in inputs)
        self.outputs = tuple(self._spec(name) for name in names if name not in inputs)
        self._stream = Stream()
        self._buckets = {
            bucket.rows: bucket
            for bucket in (
                _Bucket(self._engine, library, self._stream, profile, self.inputs, self.outputs)
                for profile in range(self._engine.num_optimization_profiles)
            )
        }

    def keep_on_device(self, outputs: Collection[str]) -> None:
        """See `DeviceEngine.keep_on_device`."""
        for bucket in self._buckets.values():
            bucket.kept = frozenset(outputs)

    def run(self, inputs: Tensors | DeviceTensors) -> DeviceTensors:
        """See `DeviceEngine.run`; numbers of rows between two buckets are filled up to the next."""
        rows = check_rows(inputs, self.inputs, self.engine)
        parts = [self._run(part) for part in split_rows(inputs, rows, max(self._buckets))]
        return joined(parts)

    def _run(self, inputs: Tensors | DeviceTensors) -> DeviceTensors:
        rows = count_rows(inputs)
        return self._buckets[bucket_for(rows, tuple(self._buckets))].run(inputs, rows)

    def _spec(self, name: str) -> TensorSpec:
        """Describe a tensor; axis 0 is the rows, and the others are as in every profile."""
        shape = tuple(self._engine.get_tensor_shape(name))
        if self._engine.get_tensor_mode(name) == self._library.api.TensorIOMode.INPUT:
            shape = tuple(self._engine.get_tensor_profile_shape(name, 0)[1])
        dtype = np.dtype(self._library.api.nptype(self._engine.get_tensor_dtype(name)))
        return TensorSpec(name, dtype, (None, *(n if n >= 0 else None for n in shape[1:])))


class _Bucket:
    """One optimization profile: a context with its buffers and, after the first run, its graph."""

    def __init__(
        self,
        engine: Any,
        library: Library,
        stream: Stream,
        profile: int,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
    ) -> None:
        self._stream = stream
        self._may_record = not library.is_rtx  # which records by itself: see _create_context
        self._context = _create_context(engine, library)
        self._recording: Recording | None = None
        if not self._context.set_optimization_profile_async(profile, int(stream.handle)):
            raise EngineFailed(f"{library.title} has no optimization profile {profile}")
        stream.wait()
        self._inputs: dict[str, Buffer] = {}
        self._outputs: dict[str, Buffer] = {}
        self.kept: frozenset[str] = frozenset()
        """Outputs that stay on the GPU."""
        self.rows = 0
        for spec in inputs:
            shape = tuple(engine.get_tensor_profile_shape(spec.name, profile)[2])
            self.rows = shape[0]
            self._context.set_input_shape(spec.name, shape)
            self._inputs[spec.name] = Buffer(shape, spec.dtype)
        for spec in outputs:
            shape = tuple(self._context.get_tensor_shape(spec.name))
            self._outputs[spec.name] = Buffer(shape, spec.dtype)
        for name, buffer in (*self._inputs.items(), *self._outputs.items()):
            self._context.set_tensor_address(name, buffer.address)

    def run(self, inputs: Tensors | DeviceTensors, rows: int) -> DeviceTensors:
        """Compute `rows` rows; the others of the bucket hold what was there before."""
        for name, array in inputs.items():
            buffer = self._inputs[name]
            if isinstance(array, Rows):
                array.gather(buffer.address, self._stream)
            else:
                buffer.host[:rows] = array
                buffer.upload(self._stream)
        if self._recording is not None:
            self._recording.launch()
        else:
            self._put_on_stream()
        kept = {name: self._copy(self._outputs[name], rows) for name in self.kept}
        self._stream.wait()
        answers: DeviceTensors = {
            name: kept[name] if name in kept else buffer.host[:rows].copy()
            for name, buffer in self._outputs.items()
        }
        if self._may_record:
            self._record()
        return answers

    def _copy(self, buffer: Buffer, rows: int) -> Rows:
        """Copy what the next batch writes over, within the GPU's memory."""
        shape, dtype = buffer.host[:rows].shape, buffer.host.dtype
        source = DeviceArray(buffer.address, shape, dtype, None, buffer)
        return Rows(source.copy(self._stream).split())

    def _record(self) -> None:
        """Record the work after a first run, which may still set up memory of the library."""
        self._may_record = False
        try:
            self._recording = self._stream.record(self._put_on_stream)
        except EngineFailed as error:
            log.warning("no CUDA graph of this engine", rows=self.rows, reason=str(error))

    def _put_on_stream(self) -> None:
        if not self._context.execute_async_v3(int(self._stream.handle)):
            raise EngineFailed("TensorRT could not compute a batch; its log says why")
        for name, buffer in self._outputs.items():
            if name not in self.kept:
                buffer.download(self._stream)


def _create_context(engine: Any, library: Library) -> Any:
    """Create a context; TensorRT-RTX is told to make CUDA graphs by itself."""
    if not library.is_rtx:
        context = engine.create_execution_context()
    else:
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = library.api.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        context = engine.create_execution_context(runtime_config=config)
    if context is None:
        raise EngineFailed(
            f"{library.title} could not create an execution context; the GPU's memory may be full: "
            "see `nvidia-smi`"
        )
    return context


def _refuse_malformed(library: Library, runtime: Any, data: bytes, plan: Path) -> None:
    """Refuse what TensorRT-RTX knows from the engine's header; it needs no GPU for that."""
    if not library.is_rtx:
        return
    validity, found = runtime.get_engine_validity(data)
    if validity != library.api.EngineValidity.INVALID:
        return
    flags = library.api.EngineInvalidityDiagnostics.__members__
    names = [name for name, flag in flags.items() if found & int(flag)]
    again = f"build it again with `ethostream export {plan.parent} --engine {library.runtime}`"
    if "MALFORMED_ENGINE" in names:
        raise BundleInvalid(
            f"{plan.name} is not an engine of {library.title} {library.version}, or it is damaged; "
            f"{again}"
        )
    unfit = [name for name in names if name in _UNFIT]
    if unfit:
        raise EngineUnavailable(
            f"{library.title} {library.version} cannot run the engine {plan.name} here: "
            f"{', '.join(unfit)}; {again}, or update the NVIDIA driver"
        )
