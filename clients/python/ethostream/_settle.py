"""Settles what a server answers with the account of a live stream."""

import time
from collections.abc import Iterable

from ethostream import messages
from ethostream.clock import ClockEstimator
from ethostream.ledger import Answer, BehaviorBundle, Ledger
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.values import BundleInfo, BundleVersion


def settle(
    response: pb.StreamFramesResponse, ledger: Ledger, clock: ClockEstimator
) -> list[Answer]:
    """The answers that may be delivered after an outcome, behavior result or acknowledgement.

    Frames get the numbers of this client, which go on over broken connections.
    """
    kind = response.WhichOneof("response")
    if kind == "outcome":
        outcome = response.outcome
        outcome.frame_index = ledger.number(outcome.frame_index, outcome.capture_time_ns)
        round_trip_ns = ledger.round_trip_ns(outcome.frame_index)
        answer = messages.outcome(outcome, round_trip_ns)
        clock.see(answer, time.time_ns())
        return ledger.settle(answer)
    if kind == "behavior":
        result = response.behavior
        result.frame_index = ledger.number(result.frame_index, result.capture_time_ns)
        for bout in result.bouts:
            bout.frame_index = ledger.number(bout.frame_index, result.capture_time_ns)
        names = ledger.behaviors_of(BundleVersion(result.bundle.name, result.bundle.version))
        return ledger.settle_behavior(messages.behavior(result, names))
    if kind == "trigger":
        event = response.trigger
        event.frame_index = ledger.number(event.frame_index, event.capture_time_ns)
        return [*messages.trigger_events([event])]
    if kind == "chunk":
        chunk = response.chunk
        return ledger.acknowledge(
            chunk.chunk_index, chunk.frames_decoded, chunk.packets_corrupt, chunk.message
        )
    return []


def behavior_bundles(bundles: Iterable[BundleInfo]) -> list[BehaviorBundle]:
    """Those that owe a behavior result for each frame."""
    return [
        BehaviorBundle(info.bundle, info.behavior.behaviors)
        for info in bundles
        if info.behavior is not None
    ]
