"""The settings of `ethostream serve`: one TOML file, one section for each part.

Each part declares its own section beside its code; this module only puts them together.
"""

from pathlib import Path

import msgspec

from service.archive import ArchiveConfig
from service.decoder_names import DECODER_CHOICES
from service.errors import InvalidConfig
from service.repository import EngineConfig
from service.scheduler import SchedulerConfig
from service.session_options import SessionConfig
from service.setting_ranges import check_least
from service.toml_files import read_toml

_MOST_MESSAGE_MIB = 2047
"""gRPC counts bytes in 31 bits."""


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section [server]: where it listens and whom it lets in."""

    listen: str = "127.0.0.1:50051"
    """HOST:PORT; port 0 takes a free one. Other hosts than loopback need TLS and tokens. Or
    unix:PATH, a socket for programs of this machine."""
    metrics_listen: str = ""
    """HOST:PORT of the Prometheus metrics; empty serves none."""
    tls_certificate: str = ""
    """PEM file with the server's certificate chain."""
    tls_key: str = ""
    """PEM file with its private key."""
    tls_client_ca: str = ""
    """PEM file with the authority that clients' certificates must come from; empty asks none."""
    token_file: str = ""
    """TOML file that maps names to tokens and scopes; empty lets everybody do everything."""
    insecure: bool = False
    """Allow an address that others can reach without TLS and tokens."""
    max_message_mib: int = 32
    """Largest message, MiB: a frame with all around it."""
    max_streams: int = 64
    """Live streams and unary sessions that may be open at once; more are refused."""
    max_videos: int = 4
    """Videos that may be analyzed at once over gRPC; more are refused."""
    shared_memory: bool = True
    """Read raw frames of clients on this machine, and of the server's own user, from memory that
    they share."""
    drain_seconds: float = 10.0
    """After SIGTERM, time for open streams to end."""
    reflection: bool = True
    """Serve the protocol's description (grpcurl, MATLAB)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_least(self, "server", max_message_mib=1, max_streams=1, max_videos=1, drain_seconds=0)
        if self.max_message_mib > _MOST_MESSAGE_MIB:
            raise InvalidConfig(
                f"server.max_message_mib is {self.max_message_mib}; give at most "
                f"{_MOST_MESSAGE_MIB}, which is all that gRPC counts"
            )


class ModelsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section [models]: what is served."""

    directory: str = "deploy/models"
    """Folder that holds <name>/<version>/bundle.json."""
    load: tuple[str, ...] = ()
    """Bundles to load at the start, NAME or NAME@VERSION; empty loads the newest of all."""


class VideoConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section [video]: files and decoding."""

    roots: tuple[str, ...] = ()
    """Folders below which AnalyzeVideo may read paths; empty allows uploads only."""
    decode_workers: int = 2
    """Videos that are decoded at once, each in processes of its own: long ones in several, where
    the machine has more cores than this."""
    decoder: str = "auto"
    """auto, pyav, dali or nvcodec. auto takes for each file the best that decodes it. Live streams
    have their chunks decoded by nvcodec and their JPEGs by dali where it is named, else on the CPU
    by PyAV and OpenCV, which are there at once."""
    upload_directory: str = ""
    """Folder for uploads; empty takes a temporary one."""
    max_upload_mib: int = 4096
    """Largest upload, MiB."""
    max_uploads_mib: int = 65536
    """All uploads that are kept, together, MiB."""
    upload_hours: float = 24.0
    """An upload is deleted after this time."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_least(
            self, "video", decode_workers=1, max_upload_mib=1, max_uploads_mib=1, upload_hours=0
        )
        if self.decoder not in DECODER_CHOICES:
            raise InvalidConfig(
                f"video.decoder is {self.decoder!r}; give one of {', '.join(DECODER_CHOICES)}"
            )


class JobsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section [jobs]: archives."""

    directory: str = ""
    """Folder of the jobs; empty takes none. Servers that share it share the videos. What jobs read
    lies below the roots of [video]."""
    results: tuple[str, ...] = ()
    """Folders below which jobs may write results; without any, results stay in the folder of the
    job."""
    parallel: int = 2
    """Videos that are worked on at once."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_least(self, "jobs", parallel=1)


class ServiceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All sections."""

    server: ServerConfig = ServerConfig()
    models: ModelsConfig = ModelsConfig()
    engine: EngineConfig = EngineConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    session: SessionConfig = SessionConfig()
    archive: ArchiveConfig = ArchiveConfig()
    video: VideoConfig = VideoConfig()
    jobs: JobsConfig = JobsConfig()


def load_config(path: Path) -> ServiceConfig:
    """Read a TOML file.

    Raises:
        InvalidConfig: the file is missing, is not TOML, or has an unknown or unfit setting.
    """
    return read_toml(path, ServiceConfig, "the config file")
