"""Client of ethostream: stream animal video, get keypoints and behavior probabilities back.

`Client` blocks, `AsyncClient` is for asyncio; both do the same. Arrays: T frames, N animals,
K keypoints, C behaviors; positions are px of the frame as sent.
"""

from ethostream.analysis import AsyncAnalysis, VideoResults
from ethostream.blocking import Analysis, Client, FrameSession, Jobs, LiveStream
from ethostream.channel import TlsOptions
from ethostream.client import AsyncClient
from ethostream.errors import EthostreamError
from ethostream.jobs import AsyncJobs, Job, JobVideo, LeftOutFile
from ethostream.ledger import LedgerCounts
from ethostream.live import AsyncLiveStream
from ethostream.session import AsyncFrameSession, FrameAnswers
from ethostream.triggers import Trigger
from ethostream.values import (
    BehaviorResult,
    BehaviorStatus,
    BoutEvent,
    BundleInfo,
    BundleSelection,
    ChunkAcknowledgement,
    Crop,
    DynamicCrop,
    ForwardPrediction,
    FrameOutcome,
    FrameStatus,
    PoseResult,
    ResultChunk,
    TriggerEvent,
)

__all__ = [
    "Analysis",
    "AsyncAnalysis",
    "AsyncClient",
    "AsyncFrameSession",
    "AsyncJobs",
    "AsyncLiveStream",
    "BehaviorResult",
    "BehaviorStatus",
    "BoutEvent",
    "BundleInfo",
    "BundleSelection",
    "ChunkAcknowledgement",
    "Client",
    "Crop",
    "DynamicCrop",
    "EthostreamError",
    "ForwardPrediction",
    "FrameAnswers",
    "FrameOutcome",
    "FrameSession",
    "FrameStatus",
    "Job",
    "JobVideo",
    "Jobs",
    "LedgerCounts",
    "LeftOutFile",
    "LiveStream",
    "PoseResult",
    "ResultChunk",
    "TlsOptions",
    "Trigger",
    "TriggerEvent",
    "VideoResults",
]
