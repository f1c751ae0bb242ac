"""Counts what was asked over the protocol, as ModelStatistics tells it."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from service.frame_requests import RequestTimings
from service.servicer.open_inference import open_inference_pb2 as pb2
from service.values import BundleVersion


@dataclass(slots=True)
class _Duration:
    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def message(self, *, share: int = 1) -> pb2.StatisticDuration:
        """Write it; `share`: how many times each was counted."""
        return pb2.StatisticDuration(
            count=round(self.count / share), ns=round(self.seconds / share * 1e9)
        )


@dataclass(slots=True)
class _Counts:
    last_ms: int = 0
    frames: int = 0
    success: _Duration = field(default_factory=_Duration)
    fail: _Duration = field(default_factory=_Duration)
    queue: _Duration = field(default_factory=_Duration)
    preprocess: _Duration = field(default_factory=_Duration)
    engine: _Duration = field(default_factory=_Duration)
    postprocess: _Duration = field(default_factory=_Duration)
    batches: defaultdict[int, _Duration] = field(default_factory=lambda: defaultdict(_Duration))
    """By batch size; a batch is counted once for each of its rows that was asked for here."""


class Statistics:
    """One set of counts for each model that was asked."""

    def __init__(self) -> None:
        self._models: defaultdict[BundleVersion, _Counts] = defaultdict(_Counts)

    def succeeded(
        self, key: BundleVersion, frames: int, seconds: float, timings: RequestTimings
    ) -> None:
        """Count a request that was answered."""
        counts = self._models[key]
        counts.last_ms = time.time_ns() // 1_000_000
        counts.frames += frames
        counts.success.add(seconds)
        counts.queue.add(timings.queue)
        counts.preprocess.add(timings.preprocess)
        counts.engine.add(timings.engine)
        counts.postprocess.add(timings.postprocess)
        for size, batch_seconds in timings.batches:
            counts.batches[size].add(batch_seconds)

    def failed(self, key: BundleVersion, seconds: float) -> None:
        """Count a request that was refused or failed."""
        counts = self._models[key]
        counts.last_ms = time.time_ns() // 1_000_000
        counts.fail.add(seconds)

    def messages(self, keys: Iterable[BundleVersion]) -> list[pb2.ModelStatistics]:
        """Write the counts of the models `keys`."""
        return [_message(key, self._models[key]) for key in keys]


def _message(key: BundleVersion, counts: _Counts) -> pb2.ModelStatistics:
    batches = sorted(counts.batches.items())
    executions = sum(rows.count / size for size, rows in batches)
    return pb2.ModelStatistics(
        name=key.name,
        version=str(key.version),
        last_inference=counts.last_ms,
        inference_count=counts.frames,
        # A clip is no batch of its own: its frames are computed one after the other.
        execution_count=round(executions) if batches else counts.success.count,
        inference_stats=pb2.InferStatistics(
            success=counts.success.message(),
            fail=counts.fail.message(),
            queue=counts.queue.message(),
            compute_input=counts.preprocess.message(),
            compute_infer=counts.engine.message(),
            compute_output=counts.postprocess.message(),
        ),
        batch_stats=[
            pb2.InferBatchStatistics(batch_size=size, compute_infer=rows.message(share=size))
            for size, rows in batches
        ],
    )
