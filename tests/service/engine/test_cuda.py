"""The GPU is found, or its absence is told with CUDA's own words."""

import numpy as np
import pytest

from service.engine.cuda import Buffer, Stream, call, find_gpu
from service.errors import EngineFailed, EngineUnavailable
from tests.conftest import has_gpu


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_a_machine_without_a_gpu_says_what_cuda_says():
    pytest.importorskip("cuda.bindings", reason="uv pip install cuda-bindings")
    with pytest.raises(EngineUnavailable, match=r"no usable GPU here \(CUDA says: .+\)"):
        find_gpu()


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_an_error_of_cuda_is_raised_with_the_call_and_the_reason():
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="uv pip install cuda-bindings")
    with pytest.raises(EngineFailed, match=r"CUDA refused cudaMalloc: .+"):
        call(runtime.cudaMalloc, 1024)


@pytest.mark.needs_gpu
def test_a_tensor_comes_back_from_the_gpu_as_it_went():
    gpu = find_gpu()
    assert gpu.compute_capability.startswith("sm_")
    stream, buffer = Stream(), Buffer((2, 3), np.dtype(np.float32))
    buffer.host[:] = [[1, 2, 3], [4, 5, 6]]
    buffer.upload(stream)
    stream.wait()
    buffer.host[:] = 0
    buffer.download(stream)
    stream.wait()
    np.testing.assert_array_equal(buffer.host, [[1, 2, 3], [4, 5, 6]])
