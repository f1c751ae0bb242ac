"""Small work on video files: take a part of the area, the time, the px, the frames; find damage.

`edit` writes new files by decoding and encoding again, so that cuts are exact; `check` reads a
file from end to end and says what of it is sound.
"""

from service.video_tools.check import VideoCheck, check_video
from service.video_tools.edit import EditReport, VideoEdit, edit_video

__all__ = ["EditReport", "VideoCheck", "VideoEdit", "check_video", "edit_video"]
