"""Small work on video files: take a part of the area, the time, the px, the frames; find damage.

`edit` writes new files by decoding and encoding again, so that cuts are exact; `verify` reads a
file from end to end and sets side by side what its container claims, what its packets (`facts`)
say and what decodes.
"""

from service.video_tools.edit import EditReport, VideoEdit, edit_video
from service.video_tools.verify import VideoTruth, verify_video

__all__ = ["EditReport", "VideoEdit", "VideoTruth", "edit_video", "verify_video"]
