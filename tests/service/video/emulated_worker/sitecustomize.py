"""Gives each Python that is started with this folder on its path an emulated GPU.

DALI is real, but works on the CPU where it is told to on the GPU; PyNvVideoCodec is the module
beside this one. With EMULATED_GPU=forgets the worker tells of frames before its stream has come
past them.
"""

import os
import sys

import cuda.bindings
from emulated_driver import EmulatedDriver
from emulated_streams import LazyRuntime

import service.video.dali
import service.video.dali_planes
import service.video.device_ring
import service.video.ladder
import service.video.nvcodec

for name, module in (("driver", EmulatedDriver()), ("runtime", LazyRuntime())):
    sys.modules[f"cuda.bindings.{name}"] = module
    setattr(cuda.bindings, name, module)


class DaliSource(service.video.dali.DaliSource):
    """Has its frames where the emulated GPU has its memory."""

    def __init__(self, *arguments, device: str, **settings) -> None:
        assert device == "gpu"
        super().__init__(*arguments, device="cpu", **settings)


class DaliPlanes(service.video.dali_planes.DaliPlanes):
    """Takes pictures where the emulated GPU has its memory, when its stream has come past them."""

    def __init__(self, *arguments, device: str, **settings) -> None:
        assert device == "gpu"
        super().__init__(*arguments, device="cpu", **settings)

    def make(self, pictures):
        return super().make([one.to_host() for one in pictures])


service.video.dali.DaliSource = DaliSource
service.video.dali_planes.DaliPlanes = DaliPlanes
service.video.nvcodec.version = lambda name: "0.0"
service.video.ladder.find_nvdec = lambda: ""
service.video.ladder._LEAST_FRAMES = 10
if os.environ.get("EMULATED_GPU") == "forgets":
    service.video.device_ring.DeviceWriter.wait = lambda self: None
