"""The bindings of NVIDIA's driver hand on what we call them with; behind them is a stub in C.

The emulation of the driver is in Python and takes any argument; these are the real bindings.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.stub_libraries import build_stub

PAGE = 1 << 21
PROGRAM = """
import gc
from service.engine import gpu_memory

gpu_memory.find_gpu = lambda: None  # asks the runtime, which the stub has not
ours, descriptor = gpu_memory.create_shared_memory(1000)
print("sent", descriptor)
theirs = gpu_memory.open_shared_memory(descriptor, 1000)
print("addresses", hex(ours.address), hex(theirs.address))
del ours, theirs
gc.collect()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory of the GPU is shared on Linux only")
def test_memory_is_shared_with_the_arguments_of_the_driver(tmp_path):
    pytest.importorskip("cuda.bindings", reason="run `uv pip install cuda-bindings`")
    build_stub(tmp_path, "libcuda.so.1", Path(__file__).with_name("stub_driver.c"))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    mapped = [f"access 10000000 {PAGE} on 1 0 rights 3, 1"]  # on device 0, to read and write
    assert done.stdout.splitlines() == [
        f"create {PAGE} kind 1 handles 1 on 1 0",  # pinned, to be sent as a file descriptor
        "export 7 as 1",
        f"reserve {PAGE}",
        f"map 7 to 10000000 {PAGE}",
        *mapped,
        "release 7",
        "sent 42",
        "import 42 as 1",
        f"reserve {PAGE}",
        f"map 8 to 10000000 {PAGE}",
        *mapped,
        "release 8",
        "addresses 0x10000000 0x10000000",
        *[f"unmap 10000000 {PAGE}", f"free 10000000 {PAGE}"] * 2,
    ]
