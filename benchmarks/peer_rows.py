"""What a comparison with a peer gives: both measured in turns, and the row that tells of them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report import percentile

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Load:
    """What one contender gave in one turn."""

    frames_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Turn:
    """Both contenders and, where there is one, a bare loop over the same engine."""

    peer: Load
    ours: Load
    loop: Load | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same network and frames through a peer and through this server."""

    peer: str
    network: str
    ours: str
    """Engine and precision of this server."""
    concurrency: int
    """Requests at once."""
    turns: Sequence[Turn]
    goal: float | None = None
    """Least `ours_ratio`; None where there is none."""

    def row(self) -> dict[str, object]:
        """Return the medians of the turns.

        frames_per_s, p50_ms and p99_ms are the peer's, those that begin with `ours_` this
        server's; ours_ratio is ours_frames_per_s / frames_per_s. Where there is a loop, share is
        a rate divided by the loop's, and added_p50_ms a median latency minus the loop's.
        """
        row: dict[str, object] = {
            "peer": self.peer,
            "network": self.network,
            "ours": self.ours,
            "concurrency": self.concurrency,
        }
        for prefix, of in (("", _peer), ("ours_", _ours)):
            row[prefix + "frames_per_s"] = self._median(lambda turn, of=of: of(turn).frames_per_s)
            row[prefix + "p50_ms"] = self._median(lambda turn, of=of: of(turn).p50_ms)
            row[prefix + "p99_ms"] = self._median(lambda turn, of=of: of(turn).p99_ms)
            if all(turn.loop for turn in self.turns):
                row[prefix + "share"] = self._median(
                    lambda turn, of=of: of(turn).frames_per_s / turn.loop.frames_per_s
                )
                row[prefix + "added_p50_ms"] = self._median(
                    lambda turn, of=of: of(turn).p50_ms - turn.loop.p50_ms
                )
        row["ours_ratio"] = self._median(
            lambda turn: turn.ours.frames_per_s / turn.peer.frames_per_s
        )
        row["goal"] = self.goal
        return row

    def _median(self, value: Callable[[Turn], float]) -> float:
        return round(statistics.median(map(value, self.turns)), 3)


def to_load(times_ms: Sequence[float], seconds: float) -> Load:
    """Summarize the latencies of frames that were answered within `seconds`."""
    return Load(len(times_ms) / seconds, percentile(times_ms, 50), percentile(times_ms, 99))


def table(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Lines for people."""
    return [
        (
            f"{row['peer']}, {row['network']}, {row['concurrency']} at once",
            f"{_cell(row, '')} | ours, {row['ours']}: {_cell(row, 'ours_')} | "
            f"{row['ours_ratio']:.2f} x" + (f" (goal {row['goal']:g})" if row["goal"] else ""),
        )
        for row in rows
    ]


def _cell(row: Row, prefix: str) -> str:
    rate, p50, p99 = (row[prefix + name] for name in ("frames_per_s", "p50_ms", "p99_ms"))
    text = f"{rate:.1f} frames/s, p50 {p50:.1f}, p99 {p99:.1f} ms"
    if prefix + "share" in row:
        text += f", {row[prefix + 'share']:.2f} of the loop, {row[prefix + 'added_p50_ms']:+.1f} ms"
    return text


def _peer(turn: Turn) -> Load:
    return turn.peer


def _ours(turn: Turn) -> Load:
    return turn.ours
