"""Gives each Python that is started with this folder on its path an emulated GPU.

DALI is real, but decodes on the CPU where it is told to on the GPU. With EMULATED_GPU=forgets the
worker tells of frames before its stream has come past them.
"""

import os
import sys

import cuda.bindings
from emulated_driver import EmulatedDriver
from emulated_streams import LazyRuntime

import service.video.dali
import service.video.device_ring
import service.video.ladder

for name, module in (("driver", EmulatedDriver()), ("runtime", LazyRuntime())):
    sys.modules[f"cuda.bindings.{name}"] = module
    setattr(cuda.bindings, name, module)


class DaliSource(service.video.dali.DaliSource):
    """Has its frames where the emulated GPU has its memory."""

    def __init__(self, *arguments, device: str, **settings) -> None:
        assert device == "gpu"
        super().__init__(*arguments, device="cpu", **settings)


service.video.dali.DaliSource = DaliSource
service.video.ladder.find_nvdec = lambda: ""
service.video.ladder._LEAST_FRAMES = 10
if os.environ.get("EMULATED_GPU") == "forgets":
    service.video.device_ring.DeviceWriter.wait = lambda self: None
