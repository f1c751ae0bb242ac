"""Opens containers of video files, and finds the video in them."""

import stat
from pathlib import Path
from typing import Any

import av

from service.errors import InvalidVideo, VideoNotFound
from service.video.base import VideoLimits

DECODER = f"pyav {av.__version__}"
# Titles in another encoding are no reason to refuse. From version 19 on, PyAV takes any.
_TITLES: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
)
# Only containers that hold their own pictures: playlists and lists of files would have the server
# open other paths.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,ogg,flv,asf,mjpeg,"
    "mpjpeg,h264,hevc,vvc,obu,ivf,gif,nut,dv,mxf,yuv4mpegpipe,swf,rm,wtv"
)


def open_container(path: Path, limits: VideoLimits) -> av.container.InputContainer:
    """Open a file to read it.

    Raises:
        VideoNotFound: nothing is at `path`.
        InvalidVideo: it is no regular file, or no container that is read here.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VideoNotFound(f"no file is at {path}; check the path") from error
    except OSError as error:
        raise InvalidVideo(f"{path} cannot be reached ({error.strerror}); check it") from error
    if not stat.S_ISREG(status.st_mode):
        raise InvalidVideo(f"{path} is not a regular file; give a video file")
    if status.st_size == 0:
        raise InvalidVideo(f"{path} is empty (0 bytes); record or copy it again")
    try:
        return av.open(
            f"file:{path}",
            options={
                "format_whitelist": _FORMATS,
                "protocol_whitelist": "file",
                "max_pixels": str(limits.max_pixels),
            },
            **_TITLES,
        )
    except PermissionError as error:
        raise InvalidVideo(f"{path} may not be read by this user; change its rights") from error
    except av.FFmpegError as error:
        raise InvalidVideo(
            f"{path} cannot be opened as a video ({error.strerror}); if it was cut off while it "
            "was recorded, its index is lost: repair it, or record fragmented MP4 or MKV"
        ) from error


def find_video(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """Return the first video stream that is no cover picture; `path` is for the message.

    Raises:
        InvalidVideo: there is none, or no decoder for it.
    """
    cover = av.stream.Disposition.attached_pic
    streams = [one for one in container.streams.video if not one.disposition & cover]
    if not streams:
        kinds = sorted({one.type for one in container.streams}) or ["nothing"]
        raise InvalidVideo(
            f"{path} holds no video stream, only {', '.join(kinds)}; give a file with a video"
        )
    if streams[0].codec_context is None:
        raise InvalidVideo(
            f"no decoder for the video stream of {path} is built into {DECODER}; convert the "
            "video to H.264"
        )
    return streams[0]
