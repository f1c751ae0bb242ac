"""What was found in a video, and the files that it is written to.

`VideoResults` holds one whole video; `write_results` writes it in the formats that are asked for.
Parquet is the record: it holds everything and is read back; the other formats are made from it.
"""

from service.format_names import FORMATS
from service.results.formats import result_paths, write_results
from service.results.parquet import count_frames, read_provenance, read_results, record_path
from service.results.provenance import (
    AnsweredBehavior,
    AnsweredBundle,
    AnsweredPose,
    Provenance,
    RequestOptions,
    VideoSource,
    same_work,
)
from service.results.video_results import VideoResults, gather_results

__all__ = [
    "FORMATS",
    "AnsweredBehavior",
    "AnsweredBundle",
    "AnsweredPose",
    "Provenance",
    "RequestOptions",
    "VideoResults",
    "VideoSource",
    "count_frames",
    "gather_results",
    "read_provenance",
    "read_results",
    "record_path",
    "result_paths",
    "same_work",
    "write_results",
]
