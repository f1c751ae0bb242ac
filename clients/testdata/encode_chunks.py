"""Encodes the pictures of the test vectors as a camera does, one chunk a picture.

What another client sends as chunks: `python -m clients.testdata.encode_chunks CODEC COUNT` prints
each chunk in base64, one a line. A key frame is every fourth picture; nothing but JPEG loses any.
"""

import base64
import sys

import av

from clients.testdata.scenes import HEIGHT_PX, WIDTH_PX, picture

_PIXEL_FORMAT = "yuvj420p"
_ENCODERS = {
    "h264": ("libx264", {"qp": "0", "tune": "zerolatency", "g": "4"}),
    "hevc": (
        "libx265",
        {"tune": "zerolatency", "x265-params": "lossless=1:keyint=4:log-level=none"},
    ),
    "mjpeg": ("mjpeg", {"flags": "+qscale", "global_quality": "118"}),
}
CODECS = tuple(_ENCODERS)


def encode_chunks(codec: str, count: int) -> list[bytes]:
    """The chunks of pictures 0 to `count` - 1 by one of `CODECS`."""
    name, options = _ENCODERS[codec]
    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = WIDTH_PX, HEIGHT_PX, _PIXEL_FORMAT
    context.framerate, context.options = 30, options
    packets = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(picture(number), "gray")
        frame = frame.reformat(format=_PIXEL_FORMAT, src_color_range=2, dst_color_range=2)
        frame.pts = number
        packets += context.encode(frame)
    return [bytes(one) for one in packets + context.encode(None)]


if __name__ == "__main__":
    chunks = encode_chunks(sys.argv[1], int(sys.argv[2]))
    sys.stdout.writelines(base64.b64encode(one).decode() + "\n" for one in chunks)
