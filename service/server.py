"""Builds the server once, starts and stops it: gRPC, health, reflection, metrics."""

import asyncio
import signal
import ssl
import sys
from contextlib import suppress
from pathlib import Path

import grpc
import structlog
from ethostream.v1 import (
    inference_service_pb2,
    inference_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from service.addresses import is_local_address, socket_path, split_address
from service.config import ServerConfig, ServiceConfig
from service.engine import create_engine
from service.errors import InvalidConfig
from service.interceptors import CallInterceptor, TokenInterceptor, read_tokens
from service.jobs.analyzer import open_local_analyzer
from service.jobs.jobs import JobRunner
from service.jobs.store import JobStore
from service.metrics import serve_metrics
from service.repository import BundleState, CreateEngine
from service.runtime import Runtime, pass_over_what_stays
from service.servicer import InferenceServicer, JobServicer, ModelServicer
from service.servicer.admission import Admission
from service.servicer.open_inference import (
    OpenInferenceServicer,
    open_inference_pb2,
    open_inference_pb2_grpc,
)
from service.servicer.reflection import enable_reflection
from service.uploads import UploadStore

log = structlog.get_logger("ethostream.server")

_PROTOCOLS = (
    inference_service_pb2.DESCRIPTOR,
    job_service_pb2.DESCRIPTOR,
    model_service_pb2.DESCRIPTOR,
    open_inference_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
)


class Server:
    """The whole service in one process; `start`, then `stop`."""

    def __init__(self, config: ServiceConfig, *, create: CreateEngine = create_engine) -> None:
        self._config = config
        check_exposure(config.server)
        tokens = read_tokens(Path(config.server.token_file)) if config.server.token_file else {}
        self._credentials = _credentials(config.server)
        self._runtime = Runtime(Path(config.models.directory), config, create=create)
        uploads = config.video.upload_directory
        self._uploads = UploadStore(
            Path(uploads) if uploads else None,
            max_bytes=config.video.max_upload_mib << 20,
            max_total_bytes=config.video.max_uploads_mib << 20,
            lifetime_seconds=config.video.upload_hours * 3600,
        )
        self._admission = Admission(config.server.max_streams)
        self._inference = InferenceServicer(self._runtime, self._uploads, self._admission)
        self._jobs = self._create_jobs()
        self._health = health.aio.HealthServicer()
        self._tokens = tokens
        self._watching: asyncio.Task[None] | None = None
        self.port = 0
        """Port that is bound, once started; of no meaning for a Unix socket."""
        self.metrics_port = 0
        """Port of the metrics, once started; 0 where none are served."""

    async def start(self) -> None:
        """Bind the port, load the bundles, begin to serve.

        Raises:
            InvalidConfig: the port is in use, or a certificate cannot be read.
            BundleNotFound, BundleInvalid: a bundle that the config names cannot be loaded.
        """
        self._warn_of_missing_folders()
        await self._runtime.start()
        server = self._grpc = self._build()
        address = self._config.server.listen
        if path := socket_path(address):
            await _check_socket(path)
        try:
            if self._credentials is not None:
                self.port = server.add_secure_port(address, self._credentials)
            else:
                self.port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise InvalidConfig(
                f"cannot listen on {address}: {error}; is it in use? choose another with --listen, "
                "or port 0 for a free one"
            ) from error
        if self._config.server.metrics_listen:
            host, port = split_address(self._config.server.metrics_listen)
            try:
                _, self.metrics_port = serve_metrics(host, port)
            except OSError as error:
                raise InvalidConfig(
                    f"cannot serve metrics on {host}:{port}: {error}; choose another port"
                ) from error
        self._watching = asyncio.create_task(self._follow_models())
        # Nobody is answered before the bundles are there: a client that comes early waits.
        await self._runtime.load(self._config.models.load)
        if self._jobs is not None:
            self._jobs.start()
        await server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        log.info("serving", listen=address, port=self.port, metrics_port=self.metrics_port)

    async def stop(self) -> None:
        """Drain: no new work, open streams are told and get their time, then all ends."""
        log.info("draining", seconds=self._config.server.drain_seconds)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            await self._health.enter_graceful_shutdown()
            # Together: unary sessions end after their calls, and the server cuts those in time.
            await asyncio.gather(
                self._inference.drain(), self._grpc.stop(self._config.server.drain_seconds)
            )
        if self._jobs is not None:
            await self._jobs.stop()
        await self._runtime.stop()
        self._uploads.close()
        log.info("stopped")

    def _warn_of_missing_folders(self) -> None:
        """A disk may be mounted later, and live streams need none."""
        folders = {
            "video.roots": self._config.video.roots,
            "jobs.results": self._config.jobs.results,
        }
        for setting, paths in folders.items():
            for path in paths:
                if not Path(path).is_dir():
                    log.warning("a folder is missing", setting=setting, path=path)

    def _build(self) -> grpc.aio.Server:
        limit_bytes = self._config.server.max_message_mib << 20
        interceptors: list[grpc.aio.ServerInterceptor] = [CallInterceptor()]
        if self._tokens:
            interceptors.append(TokenInterceptor(self._tokens))
        server = grpc.aio.server(
            interceptors=interceptors,
            options=[
                ("grpc.max_receive_message_length", limit_bytes),
                ("grpc.max_send_message_length", limit_bytes),
                ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
                ("grpc.keepalive_time_ms", 20_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        inference_service_pb2_grpc.add_InferenceServiceServicer_to_server(self._inference, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelServicer(self._runtime.repository), server
        )
        job_service_pb2_grpc.add_JobServiceServicer_to_server(
            JobServicer(self._jobs, self._runtime.repository, self._config), server
        )
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
            OpenInferenceServicer(self._runtime, self._admission), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._config.server.reflection:
            enable_reflection(server, _PROTOCOLS)
        return server

    def _create_jobs(self) -> JobRunner | None:
        config, runtime = self._config.jobs, self._runtime
        if not config.directory:
            return None
        folder = Path(config.directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidConfig(
                f"jobs.directory {folder} cannot be made: {error.strerror}; name a folder that "
                "this server may write"
            ) from error
        return JobRunner(
            JobStore(folder),
            lambda plan: open_local_analyzer(runtime, plan.bundles),
            parallel=config.parallel,
        )

    async def _follow_models(self) -> None:
        """Keep the health of every bundle's name true."""
        async for status in self._runtime.repository.watch():
            name = status.key.name
            ready = any(one.key.name == name for one in self._runtime.repository.loaded())
            if ready or status.state is not BundleState.LOADING:
                await self._health.set(
                    name,
                    health_pb2.HealthCheckResponse.SERVING
                    if ready
                    else health_pb2.HealthCheckResponse.NOT_SERVING,
                )


async def serve(
    config: ServiceConfig,
    *,
    announce: asyncio.Future[Server] | None = None,
    create: CreateEngine = create_engine,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; `announce` is answered once it serves."""
    server = Server(config, create=create)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await server.start()
        pass_over_what_stays()
        if announce is not None:
            announce.set_result(server)
        await stopping.wait()
    finally:
        await server.stop()


def check_exposure(config: ServerConfig) -> None:
    """Refuse an address that others can reach without TLS and tokens.

    Raises:
        InvalidConfig: such an address, and `insecure` is not set; or a part of what TLS needs.
    """
    if bool(config.tls_certificate) != bool(config.tls_key):
        raise InvalidConfig("TLS needs both tls_certificate and tls_key; one of them is not set")
    if config.tls_client_ca and not config.tls_certificate:
        raise InvalidConfig(
            "clients show certificates over TLS only; set tls_certificate and tls_key beside "
            "tls_client_ca"
        )
    if is_local_address(config.listen) or config.insecure:
        return
    missing = [
        what
        for what, given in (("TLS", config.tls_certificate), ("tokens", config.token_file))
        if not given
    ]
    if missing:
        raise InvalidConfig(
            f"{config.listen} can be reached by others, and {' and '.join(missing)} are not "
            "configured; give --tls-certificate, --tls-key and --token-file, listen on 127.0.0.1, "
            "or say --insecure if the network is trusted"
        )


async def _check_socket(path: str) -> None:
    """Refuse the socket of a server that runs: gRPC would take it away from it."""
    if sys.platform == "win32":
        raise InvalidConfig(f"unix:{path} is not offered on Windows; listen on 127.0.0.1:50051")
    with suppress(OSError, ValueError):  # nobody listens there
        _, writer = await asyncio.open_unix_connection(path)
        writer.close()
        raise InvalidConfig(f"a server listens on {path}; choose another socket, or stop that one")


def _credentials(config: ServerConfig) -> grpc.ServerCredentials | None:
    if not config.tls_certificate:
        return None
    try:
        pair = (Path(config.tls_key).read_bytes(), Path(config.tls_certificate).read_bytes())
        authority = Path(config.tls_client_ca).read_bytes() if config.tls_client_ca else None
    except OSError as error:
        raise InvalidConfig(f"a TLS file cannot be read: {error}") from error
    _check_tls(config)
    return grpc.ssl_server_credentials(
        [pair], root_certificates=authority, require_client_auth=authority is not None
    )


def _check_tls(config: ServerConfig) -> None:
    """Refuse files with which gRPC would only say that it cannot listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password: without one, a key that has a password is asked for at the terminal.
        context.load_cert_chain(config.tls_certificate, config.tls_key, password="")
    except ssl.SSLError as error:
        raise InvalidConfig(
            f"the TLS certificate {config.tls_certificate} and the key {config.tls_key} cannot be "
            f"used ({error.reason or error}); give PEM files that belong together, the key without "
            "a password"
        ) from error
    if config.tls_client_ca:
        try:
            context.load_verify_locations(config.tls_client_ca)
        except ssl.SSLError as error:
            raise InvalidConfig(
                f"{config.tls_client_ca} holds no certificate ({error.reason or error}); give the "
                "PEM file of the authority of client certificates"
            ) from error
