"""From video files, stills and encoded chunks to frames.

`DecodeWorkers` reads files in worker processes: `base` is the contract; `pyav` the decoder with
`containers`, `packets` (its index, with `checksums`), `runs` (a pass over packets), `ledger` (row
order), `pixels`, `inputs` (of models, made where a video is decoded) and `makers` (both); `shares`
lets several workers read one file; `worker` is the program of a worker process, `process` the
server's hold on it, `readers` what it reads there, `workers` the pool; `messages` and `ring` lie
between (`device_ring` where frames stay on the GPU). `still` reads JPEG and PNG, `pictures` folders
of picture files, `chunks` and `stream` live streams.

`ladder` chooses the decoder of each file. `dali` (with `dali_graph`) and `nvcodec` decode on GPUs
(`nvdec` says what these can) the `stretches` of a file that PyAV has open, and `guarded` holds them
to PyAV's index; `dali_planes` makes inputs of what `nvcodec` left on the GPU. `jpegs` and
`dali_jpeg` decode the JPEG frames of several live streams together.
"""

from typing import TYPE_CHECKING, Any

from service.video.base import ChunkCodec, Color, VideoLimits, VideoReader

if TYPE_CHECKING:
    from service.video.chunks import ChunkDecoder, DecodedChunk
    from service.video.workers import DecodeWorkers, open_video

__all__ = [
    "ChunkCodec",
    "ChunkDecoder",
    "Color",
    "DecodeWorkers",
    "DecodedChunk",
    "VideoLimits",
    "VideoReader",
    "open_video",
]


def __getattr__(name: str) -> Any:
    """Import the server's side when it is asked for: a worker process starts without it."""
    if name in ("ChunkDecoder", "DecodedChunk"):
        from service.video import chunks

        return getattr(chunks, name)
    if name in ("DecodeWorkers", "open_video"):
        from service.video import workers

        return getattr(workers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
