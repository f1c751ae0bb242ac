"""Gathers inputs of all sessions and videos into batches and computes them one after the other.

One thread owns the device. Whenever it is free it takes the largest full bucket of what waits:
live inputs first, oldest first, filled up with archive inputs of the same graph where the device
computes a larger batch in little more time. It never waits for a batch to fill, so a lone frame
leaves at once. The archive costs a live frame at most one archive batch: the rest of the one that
is computed when it comes, and what its own takes longer for being filled up, are bounded together.
"""

import asyncio
import enum
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from service import metrics
from service.engine import Engine
from service.engine.base import DeviceEngine
from service.engine.device import Array, Rows, stack
from service.errors import EngineFailed, EthostreamError, InvalidConfig, Overloaded, ShuttingDown
from service.graph_inputs import BATCH_SIZES

log = structlog.get_logger("ethostream.scheduler")

_WORTH_IT = 0.9
"""Share of the time that archive inputs cost in batches of their own, up to which a live batch may
take longer for them. Where each row costs the same, it is 1, and live frames stay alone."""

Sample = dict[str, Any]
"""Outputs of one batch row, without the batch axis: arrays of the host, or `DeviceArray` where the
engine keeps them on the GPU."""
Inputs = Mapping[str, Array | Rows]
"""Inputs of one batch row: on the host, or on the GPU already for an engine there."""


class Work(enum.Enum):
    """Classes of work; live goes first."""

    LIVE = "live"
    ARCHIVE = "archive"


class SchedulerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How batches are formed."""

    batch_sizes: tuple[int, ...] = BATCH_SIZES
    """Buckets: the numbers of rows that a batch may have. Every graph is warmed up at each, so no
    request meets a size that the engine has not compiled."""
    max_queued: int = 4096
    """Inputs that may wait, all graphs and classes together; more are refused. Sessions and
    videos bound themselves far below; this is the last line."""

    def __post_init__(self) -> None:
        """Check the buckets."""
        sizes = self.batch_sizes
        if not sizes or sizes[0] != 1 or list(sizes) != sorted(set(sizes)):
            raise InvalidConfig(f"batch_sizes is {sizes}; it must begin with 1 and increase")
        if self.max_queued < sizes[-1]:
            raise InvalidConfig(f"max_queued is {self.max_queued}; give at least {sizes[-1]}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came out of a batch for one input."""

    outputs: Sample
    queued_seconds: float
    """From submission until its batch began."""
    engine_seconds: float
    """Time of the whole batch."""
    batch_size: int


class Graph:
    """One loaded graph with a name for metrics; what `Scheduler.submit` computes on."""

    def __init__(self, name: str, engine: Engine, *, is_steady: bool = True) -> None:
        self.name = name
        self.engine = engine
        self.is_steady = is_steady
        """Whether a row has the same answer, to the last bit, in batches of any size. Where not,
        rows of the archive are computed in batches of one size alone, so that a video gives the
        same results whatever else is in work."""
        self.batch_seconds: dict[int, float] = {}
        """Time of the latest batches by size, smoothed; of the device thread alone."""

    @property
    def takes_device_rows(self) -> bool:
        """Whether inputs may lie in the GPU's memory."""
        return isinstance(self.engine, DeviceEngine) and self.engine.takes_device_rows


@dataclass(slots=True, eq=False)
class _Item:
    graph: Graph
    inputs: Inputs
    future: asyncio.Future[Answer]
    work: Work
    submitted: float


@dataclass(slots=True, eq=False)
class _Queue:
    """Inputs of equal shapes for one graph; only such can share a batch."""

    graph: Graph
    live: deque[_Item] = field(default_factory=deque)
    archive: deque[_Item] = field(default_factory=deque)

    def of(self, work: Work) -> deque[_Item]:
        return self.live if work is Work.LIVE else self.archive

    def __len__(self) -> int:
        return len(self.live) + len(self.archive)


class Scheduler:
    """Owns the device thread; `submit` is called on the event loop that started it."""

    def __init__(
        self, config: SchedulerConfig, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._config = config
        self._clock = clock
        self._queues: dict[tuple[Any, ...], _Queue] = {}
        self._queued = 0
        self._open = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="ethostream-device", daemon=True)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Numbers of rows that a batch may have."""
        return self._config.batch_sizes

    def start(self) -> None:
        """Start the device thread on behalf of the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._open = True
        metrics.QUEUED_INPUTS.set_function(lambda: self._queued)  # read when metrics are asked for
        self._thread.start()

    async def stop(self) -> None:
        """Refuse what still waits, finish the batch in work and end the thread."""
        with self._changed:
            self._open = False
            waiting = [
                item for queue in self._queues.values() for item in (*queue.live, *queue.archive)
            ]
            self._queues.clear()
            self._queued = 0
            self._changed.notify()
        for item in waiting:
            _fail(item.future, ShuttingDown("the server is stopping; send the frame elsewhere"))
        await asyncio.to_thread(self._thread.join)

    def submit(self, graph: Graph, inputs: Inputs, *, work: Work) -> asyncio.Future[Answer]:
        """Queue one row for `graph`; the future answers when its batch was computed.

        Args:
            graph: what to compute.
            inputs: arrays by input name, without the batch axis; they must stay unchanged until
                the future is done.
            work: class of work.

        Raises:
            Overloaded: the queue is full.
            ShuttingDown: the scheduler is stopping.
        """
        future: asyncio.Future[Answer] = self._loop.create_future()
        item = _Item(graph, inputs, future, work, self._clock())
        key = (id(graph), *((name, one.shape) for name, one in inputs.items()))
        with self._changed:
            if not self._open:
                raise ShuttingDown("the server is stopping; send the frame elsewhere")
            if self._queued >= self._config.max_queued:
                raise Overloaded(
                    f"{self._queued} inputs wait for the device already; send again in a moment"
                )
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue(graph)
            queue.of(work).append(item)
            self._queued += 1
            self._changed.notify()
        return future

    def _run(self) -> None:
        while (batch := self._collect()) is not None:
            started = self._clock()
            try:
                outputs = _compute(batch, self._fixed_size(batch))
                failure = None
            except EthostreamError as error:
                outputs, failure = [], error
            except Exception as error:  # an engine's own bug must not end the device thread
                log.exception("batch failed", graph=batch[0].graph.name)
                outputs, failure = [], EngineFailed(f"{batch[0].graph.name} failed: {error}")
            self._scatter(batch, outputs, failure, started, self._clock() - started)

    def _fixed_size(self, batch: Sequence[_Item]) -> int:
        """Rows that the engine is given: more than the batch has where its size must not vary."""
        is_fixed = not batch[0].graph.is_steady and batch[0].work is Work.ARCHIVE
        return self._config.batch_sizes[-1] if is_fixed else len(batch)

    def _collect(self) -> list[_Item] | None:
        """Wait for work and take one batch of it; None when the scheduler stops."""
        with self._changed:
            while True:
                if not self._open:
                    return None
                self._drop_abandoned()
                key = self._next_queue()
                if key is not None:
                    break
                self._changed.wait()
            queue = self._queues[key]
            size = self._batch_size(queue)
            batch = [
                queue.live.popleft() if queue.live else queue.archive.popleft() for _ in range(size)
            ]
            if not queue:
                del self._queues[key]
            self._queued -= size
            return batch

    def _batch_size(self, queue: _Queue) -> int:
        sizes, live = self._config.batch_sizes, len(queue.live)
        if not queue.graph.is_steady and not live:
            return min(len(queue), sizes[-1])  # and is brought to the largest size
        return batch_size(
            sizes,
            live=live,
            waiting=len(queue) if queue.graph.is_steady else live,
            waited_seconds=self._clock() - queue.live[0].submitted if live else 0.0,
            batch_seconds=queue.graph.batch_seconds,
        )

    def _next_queue(self) -> tuple[Any, ...] | None:
        """Key of the queue with the oldest live input, or else with the oldest archive input."""
        for work in Work:
            heads = [
                (queue.of(work)[0].submitted, key)
                for key, queue in self._queues.items()
                if queue.of(work)
            ]
            if heads:
                return min(heads, key=lambda head: head[0])[1]
        return None

    def _drop_abandoned(self) -> None:
        for key, queue in list(self._queues.items()):
            for items in (queue.live, queue.archive):
                while items and items[0].future.cancelled():
                    items.popleft()
                    self._queued -= 1
                    metrics.ABANDONED.inc()
            if not queue:
                del self._queues[key]

    def _scatter(
        self,
        batch: Sequence[_Item],
        outputs: Sequence[Sample],
        failure: EthostreamError | None,
        started: float,
        engine_seconds: float,
    ) -> None:
        def deliver() -> None:  # on the event loop, once per batch
            for row, item in enumerate(batch):
                if failure is not None:
                    _fail(item.future, failure)
                elif not item.future.done():
                    queued = started - item.submitted
                    item.future.set_result(Answer(outputs[row], queued, engine_seconds, len(batch)))

        graph = batch[0].graph.name
        try:
            self._loop.call_soon_threadsafe(deliver)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.warning("answers of a batch came after the loop had closed", graph=graph)
        # What nobody waits for comes last: meanwhile the event loop wakes up.
        known, size = batch[0].graph.batch_seconds, self._fixed_size(batch)
        known[size] = 0.8 * known.get(size, engine_seconds) + 0.2 * engine_seconds
        metrics.BATCH_SIZE.labels(graph).observe(len(batch))
        metrics.ENGINE_SECONDS.labels(graph).observe(engine_seconds)
        for item in batch:
            metrics.QUEUE_WAIT.labels(item.work.value).observe(started - item.submitted)


def batch_size(
    sizes: Sequence[int],
    *,
    live: int,
    waiting: int,
    waited_seconds: float,
    batch_seconds: Mapping[int, float],
) -> int:
    """Return how many rows the next batch has.

    The largest full bucket; but live inputs share it with the archive only where that costs them
    less time than it saves the device, and where this time and what they have waited are together
    no longer than the largest batch takes.

    Args:
        sizes: the buckets, increasing from 1.
        live: live inputs that wait.
        waiting: these and the archive's; at least 1.
        waited_seconds: how long the first live input has waited.
        batch_seconds: what a batch takes, by size; one that is not known is tried.
    """
    full = max(size for size in sizes if size <= waiting)
    own = max((size for size in sizes if size <= live), default=full)
    alone, longest = batch_seconds.get(own, 0.0), batch_seconds.get(sizes[-1], 0.0)

    def is_worth_it(size: int) -> bool:
        longer = batch_seconds.get(size, 0.0) - alone
        saved = longest * (size - own) / sizes[-1]
        return longer <= _WORTH_IT * saved and waited_seconds + longer <= longest

    return max((one for one in sizes if own < one <= full and is_worth_it(one)), default=own)


def _compute(batch: Sequence[_Item], size: int) -> list[Sample]:
    """Stack, run and split one batch, whose last row is repeated up to `size` rows."""
    graph = batch[0].graph
    rows = [*batch, *[batch[-1]] * (size - len(batch))]
    stacked: dict[str, Any] = {
        name: stack([item.inputs[name] for item in rows]) for name in batch[0].inputs
    }
    outputs = graph.engine.run(stacked)
    by_name = {name: list(rows) for name, rows in outputs.items()}
    return [{name: rows[place] for name, rows in by_name.items()} for place in range(len(batch))]


def _fail(future: asyncio.Future[Answer], error: EthostreamError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # an answer that nobody awaits any more is no news for the log
