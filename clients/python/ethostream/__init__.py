"""Client of ethostream: stream animal video, get keypoints and behavior probabilities back.

`Client` blocks, `AsyncClient` is for asyncio; both do the same. Arrays: T frames, N animals,
K keypoints, C behaviors; positions are px of the frame as sent.
"""

from ethostream.analysis import AsyncAnalysis, VideoResults
from ethostream.blocking import Analysis, Client, LiveStream
from ethostream.channel import TlsOptions
from ethostream.client import AsyncClient
from ethostream.errors import EthostreamError
from ethostream.ledger import LedgerCounts
from ethostream.live import AsyncLiveStream
from ethostream.values import (
    BehaviorResult,
    BehaviorStatus,
    BoutEvent,
    BundleInfo,
    BundleSelection,
    Crop,
    DynamicCrop,
    FrameOutcome,
    FrameStatus,
    PoseResult,
    ResultChunk,
)

__all__ = [
    "Analysis",
    "AsyncAnalysis",
    "AsyncClient",
    "AsyncLiveStream",
    "BehaviorResult",
    "BehaviorStatus",
    "BoutEvent",
    "BundleInfo",
    "BundleSelection",
    "Client",
    "Crop",
    "DynamicCrop",
    "EthostreamError",
    "FrameOutcome",
    "FrameStatus",
    "LedgerCounts",
    "LiveStream",
    "PoseResult",
    "ResultChunk",
    "TlsOptions",
    "VideoResults",
]
