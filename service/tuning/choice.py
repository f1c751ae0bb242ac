"""Decides from measured times which settings keep a latency and compute the most, and says why."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import EngineFailed, InvalidRequest
from service.tuning.engines import EngineSetting, EngineTiming
from service.values import BundleVersion

_AS_GOOD = 0.97
"""Share of the best rate from which a smaller batch, fewer threads or workers are preferred."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting of [engine] and [scheduler], with what all bundles together take."""

    engine: str
    precision: str
    threads: int
    largest_batch: int
    single_seconds: float
    """A frame alone through all bundles; 19 of 20 take no longer."""
    largest_seconds: float
    """A largest batch through all bundles; 19 of 20 take no longer."""
    frames_per_s: float
    """Frames that all bundles look at, in largest batches."""

    def keeps(self, target_seconds: float) -> bool:
        """Whether a frame alone and the largest batch both take no longer than the target."""
        return max(self.single_seconds, self.largest_seconds) <= target_seconds


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What was chosen and what for."""

    chosen: Candidate
    reason: str


@dataclass(frozen=True, slots=True)
class DecodeTiming:
    """Frames a second with a number of videos decoded at once."""

    workers: int
    frames_per_s: float


@dataclass(frozen=True, slots=True)
class Choice:
    """All that the settings file says."""

    engine: EngineChoice
    workers: int
    workers_reason: str


def candidates(
    settings: Sequence[EngineSetting],
    bundles: Sequence[BundleVersion],
    timings: Sequence[EngineTiming],
) -> list[Candidate]:
    """Put the times of the bundles together; settings with a gap in them are left out."""
    by_key = {
        (one.bundle, one.engine, one.precision, one.threads, one.batch_size): one for one in timings
    }
    threads: dict[str, set[int]] = defaultdict(set)
    sizes: set[int] = set()
    for one in timings:
        threads[one.engine].add(one.threads)
        sizes.add(one.batch_size)
    found = []
    for setting in settings:
        for count in sorted(threads[setting.engine]):
            for size in sorted(sizes):
                pairs = list(zip(bundles, setting.precisions, strict=True))
                single = [by_key.get((b, setting.engine, p, count, 1)) for b, p in pairs]
                largest = [by_key.get((b, setting.engine, p, count, size)) for b, p in pairs]
                if None in single or None in largest:
                    continue
                found.append(
                    Candidate(
                        setting.engine,
                        setting.precision,
                        count,
                        size,
                        sum(one.p95_seconds for one in single if one),
                        sum(one.p95_seconds for one in largest if one),
                        size / sum(one.median_seconds for one in largest if one),
                    )
                )
    return found


def choose_engine_setting(found: Sequence[Candidate], target_seconds: float) -> EngineChoice:
    """Return the setting that keeps the target and computes the most frames a second.

    Of those within 3 % of the best, the one whose largest batch takes least, which is how long a
    live frame may have to wait; then the one with fewer threads.

    Raises:
        EngineFailed: there is none to choose from.
        InvalidRequest: none keeps the target.
    """
    if not found:
        raise EngineFailed(
            "no engine computed all of the bundles; the warnings above say why each was left out, "
            "`ethostream doctor` what is missing here"
        )
    keeping = [one for one in found if one.keeps(target_seconds)]
    if not keeping:
        fastest = min(found, key=lambda one: one.single_seconds)
        raise InvalidRequest(
            f"no setting keeps {target_seconds * 1e3:g} ms: the fastest, {_named(fastest)}, takes "
            f"{fastest.single_seconds * 1e3:.1f} ms for one frame; give a larger --latency-ms, or "
            "fewer or smaller bundles with --model"
        )
    best = max(one.frames_per_s for one in keeping)
    chosen = min(
        (one for one in keeping if one.frames_per_s >= _AS_GOOD * best),
        key=lambda one: (one.largest_seconds, one.threads),
    )
    over = [one for one in found if not one.keeps(target_seconds)]
    faster = max(over, key=lambda one: one.frames_per_s, default=None)
    reason = (
        f"{_named(chosen)} in batches up to {chosen.largest_batch}: "
        f"{chosen.frames_per_s:.1f} frames/s, the most of {len(keeping)} settings that keep "
        f"{target_seconds * 1e3:g} ms (to 3 %, then the shortest largest batch); a frame alone "
        f"takes {chosen.single_seconds * 1e3:.1f} ms, and beside an archive job it waits for at "
        f"most {chosen.largest_seconds * 1e3:.1f} ms"
    )
    if faster is not None and faster.frames_per_s > best:
        reason += (
            f"; {_named(faster)} in batches up to {faster.largest_batch} would give "
            f"{faster.frames_per_s:.1f}, but takes {faster.largest_seconds * 1e3:.1f} ms"
        )
    return EngineChoice(chosen, reason)


def choose_workers(timings: Sequence[DecodeTiming], needed_frames_per_s: float) -> tuple[int, str]:
    """Return the fewest workers that decode as fast as the engine computes, and why.

    Where none do, the fewest within 3 % of the fastest.
    """
    enough = [one for one in timings if one.frames_per_s >= needed_frames_per_s]
    if enough:
        chosen = min(enough, key=lambda one: one.workers)
        why = f"the fewest that decode as fast as the {needed_frames_per_s:.1f} that are computed"
    else:
        best = max(one.frames_per_s for one in timings)
        as_good = [one for one in timings if one.frames_per_s >= _AS_GOOD * best]
        chosen = min(as_good, key=lambda one: one.workers)
        why = f"the fastest; {needed_frames_per_s:.1f} could be computed"
    return (
        chosen.workers,
        f"{chosen.workers} at once decode {chosen.frames_per_s:.1f} frames/s, {why}",
    )


def _named(one: Candidate) -> str:
    many = "1 thread" if one.threads == 1 else f"{one.threads} threads"
    return f"{one.engine} in {one.precision} with {many}"
