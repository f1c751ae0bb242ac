"""The real PyNvVideoCodec has what we call, and what the emulation of it offers.

It is loaded without a GPU, beside stubs of the libraries of NVIDIA's driver.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from service.video import nvcodec, nvdec
from tests.service.stub_libraries import build_stub, needed_functions
from tests.service.video.emulated_worker import PyNvVideoCodec as emulated

PROGRAM = """
import json
import PyNvVideoCodec as library

classes = ("PyNvDecoder", "DecodedFrame", "PacketData", "cudaVideoCodec", "Pixel_Format",
           "DisplayDecodeLatencyType")
print(json.dumps({name: dir(getattr(library, name)) for name in classes} | {
    name: getattr(library, name).__doc__ for name in ("CreateDecoder", "GetDecoderCaps")
}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> dict[str, Any]:
    """Members of the classes, and the signatures of the functions."""
    found = find_spec("PyNvVideoCodec")
    if found is None or found.origin is None:
        pytest.skip("PyNvVideoCodec is not installed; run `uv sync --inexact --group dev`")
    folder = tmp_path_factory.mktemp("stubs")
    names = {
        name
        for part in Path(found.origin).parent.glob("PyNvVideoCodec_*.so")
        for name in needed_functions(part, "cu")
        if not name.startswith("cuda")
    }
    functions = "".join(f"int {name}(void) {{ return 100; }}\n" for name in sorted(names))
    build_stub(folder, "libcuda.so.1", functions)  # 100: there is no GPU
    newest = "int NvEncodeAPIGetMaxSupportedVersion(unsigned *v) { *v = 0xffff; return 0; }\n"
    build_stub(folder, "libnvidia-encode.so.1", newest)
    build_stub(folder, "libnvcuvid.so.1", "int cuvidGetDecoderCaps(void) { return 1; }\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_sessions_are_opened_with_settings_that_there_are(library):
    settings = {"gpuid", "codec", "latency", "usedevicememory", "cudacontext", "cudastream"}
    first = library["CreateDecoder"].partition("1. ")[2].partition("->")[0]
    assert {name for name in settings if f"{name}: " not in first} == set()
    assert "codec: " in library["GetDecoderCaps"].partition("->")[0]


def test_every_codec_has_the_name_that_it_is_asked_for_by(library):
    assert set(nvcodec._NAMES.values()) | set(nvdec._NAMES.values()) <= {*library["cudaVideoCodec"]}


@pytest.mark.parametrize("name", ["cudaVideoCodec", "Pixel_Format", "DisplayDecodeLatencyType"])
def test_the_emulation_knows_no_other_values(library, name):
    assert {one.name for one in getattr(emulated, name)} <= {*library[name]}


def test_the_emulation_has_no_other_members(library):
    decoder = {name for name in vars(emulated.Decoder) if not name.startswith("_")}
    assert decoder <= {*library["PyNvDecoder"]}
    assert {*vars(emulated.PacketData())} <= {*library["PacketData"]}
    frame = {"format", "framesize", "GetPtrToPlane", "getPTS"}
    assert frame <= {*library["DecodedFrame"]}
