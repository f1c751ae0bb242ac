"""Of the engines of a bundle, only one for this library and this GPU is taken."""

import msgspec
import pytest

from service.bundle import EngineEntry, FileEntry, Manifest
from service.engine.built import built_engine
from service.engine.cuda import Gpu
from service.errors import EngineUnavailable

H200 = Gpu("NVIDIA H200", "sm_90")
RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", "sm_89")


@pytest.fixture
def manifest(mouse) -> Manifest:
    """The shipped pose bundle with an engine for an H200 and one for RTX cards."""
    source = mouse.manifest.graphs["pose"].sha256

    def entry(runtime: str, version: str, gpu: str) -> EngineEntry:
        return EngineEntry(
            runtime=runtime,
            runtime_version=version,
            gpu=gpu,
            graph="pose",
            precision="fp32",
            source_sha256=source,
            batch_sizes=(1, 2, 4, 8),
            file=FileEntry(path=f"{runtime}.engine", sha256="0" * 64, size_bytes=1),
        )

    engines = (
        entry("tensorrt", "10.16.1", "NVIDIA H200 sm_90"),
        entry("tensorrt-rtx", "1.7.1", "sm_80 sm_86 sm_89 sm_120"),
    )
    return msgspec.structs.replace(mouse.manifest, engines=engines)


def choose(manifest, runtime="tensorrt", version="10.16.1", gpu=H200, precision="fp32"):
    return built_engine(
        manifest, "pose", runtime=runtime, precision=precision, runtime_version=version, gpu=gpu
    )


def test_the_engine_of_this_gpu_and_library_is_taken(manifest):
    assert choose(manifest).file.path == "tensorrt.engine"
    found = choose(manifest, "tensorrt-rtx", "1.7.1", RTX_4090)
    assert found.file.path == "tensorrt-rtx.engine"


def test_an_engine_of_another_version_of_the_library_is_refused(manifest):
    with pytest.raises(EngineUnavailable, match=r"with version 10.16.1, but version 10.17.0 is in"):
        choose(manifest, version="10.17.0")


def test_an_engine_of_another_gpu_is_refused(manifest):
    same_generation = Gpu("NVIDIA H100 PCIe", "sm_90")
    with pytest.raises(EngineUnavailable, match="built for NVIDIA H200 sm_90, but this machine ha"):
        choose(manifest, gpu=same_generation)
    with pytest.raises(EngineUnavailable, match="sm_120, but this machine has NVIDIA H200 sm_90"):
        choose(manifest, "tensorrt-rtx", "1.7.1", H200)


def test_a_precision_that_was_not_built_is_refused_with_the_command_that_builds_it(manifest):
    with pytest.raises(EngineUnavailable, match=r"in int8; .* --engine tensorrt --precision int8`"):
        choose(manifest, precision="int8")
