"""Every Prometheus metric of the service, with buckets chosen for its quantity."""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server

_SECONDS = (
    *(0.0002, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.007),
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
)
"""Fine where live frames are, so that a percentile is read to within a third."""

FRAMES = Counter(
    "ethostream_frames_total", "Frames answered, by class of work and outcome", ["work", "outcome"]
)
BATCH_SIZE = Histogram(
    "ethostream_batch_size", "Frames in a computed batch", ["graph"], buckets=(1, 2, 4, 8, 16, 32)
)
QUEUE_WAIT = Histogram(
    "ethostream_queue_wait_seconds", "Time from submission to the batch", ["work"], buckets=_SECONDS
)
ENGINE_SECONDS = Histogram(
    "ethostream_engine_seconds",
    "Time that the engine took for a batch",
    ["graph"],
    buckets=_SECONDS,
)
FRAME_SECONDS = Histogram(
    "ethostream_frame_seconds",
    "Live: time from a frame's arrival to its outcome",
    ["outcome"],
    buckets=_SECONDS,
)
_STAGE_SECONDS = Histogram(
    "ethostream_stage_seconds",
    "Live: time of a frame in each stage but the batch's, which has metrics of its own",
    ["stage"],
    buckets=_SECONDS,
)
STAGES = {
    stage: _STAGE_SECONDS.labels(stage)
    for stage in ("queue", "decode", "preprocess", "postprocess")
}
"""By fields of `outcomes.Timings`; looked up once, since they are observed for every frame."""
QUEUED_INPUTS = Gauge("ethostream_queued_inputs", "Inputs that wait for a batch")
ABANDONED = Counter(
    "ethostream_abandoned_total", "Inputs dropped before a batch because their client left"
)
STREAMS_OPEN = Gauge("ethostream_streams_open", "Live streams and sessions that are open")
VIDEOS_OPEN = Gauge("ethostream_videos_open", "Videos that are being analyzed")
VIDEOS = Counter("ethostream_videos_total", "Videos analyzed, by how they ended", ["outcome"])
REQUESTS = Counter("ethostream_requests_total", "Calls, by method and status", ["method", "status"])
BUNDLES_READY = Gauge("ethostream_bundles_ready", "Bundle versions that answer requests")
DECODE_WORKER_RESTARTS = Counter(
    "ethostream_decode_worker_restarts_total", "Decode workers that died and were replaced"
)


def serve_metrics(host: str, port: int) -> tuple[str, int]:
    """Serve all metrics over HTTP on a thread of its own; return the address that is bound.

    Raises:
        OSError: the port is in use.
    """
    server, _ = start_http_server(port, addr=host, registry=REGISTRY)
    return host, int(server.server_port)
