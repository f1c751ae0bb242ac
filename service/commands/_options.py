"""Options that several commands share: which server, what to look at, what to write."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from service.format_names import DEFAULT_FORMATS, FORMATS

if TYPE_CHECKING:  # options must show without loading what they need
    from ethostream import TlsOptions

    from service.jobs.finish import Outputs
    from service.results import RequestOptions


def add_server_options(
    parser: argparse.ArgumentParser, help_text: str, *, default: str | None = None
) -> None:
    """Declare which server is asked, and how it is reached."""
    add = parser.add_argument
    add("--server", default=default, metavar="HOST:PORT", help=help_text)
    add("--token-file", type=Path, metavar="FILE", help="file with the token for --server")
    add("--tls", action="store_true", help="use TLS with --server; implied by --tls-root")
    add("--tls-root", type=Path, metavar="PEM", help="who signed the server's certificate")


def read_access(arguments: argparse.Namespace) -> "tuple[str | None, TlsOptions | None]":
    """Return the token for the server and how to reach it over TLS, where these are given."""
    from ethostream import TlsOptions

    token = arguments.token_file.read_text().strip() if arguments.token_file else None
    secured = arguments.tls or arguments.tls_root
    return token, TlsOptions(root_certificate=arguments.tls_root) if secured else None


def add_work_options(parser: argparse.ArgumentParser) -> None:
    """Declare what to look at in each video, and what to write of it."""
    add = parser.add_argument
    add(
        "--format",
        action="append",
        choices=tuple(FORMATS),
        help="what to write besides the Parquet record; repeat for several (default: "
        f"{', '.join(DEFAULT_FORMATS)})",
    )
    add("--overlay", action="store_true", help="also draw each video with what was found in it")
    add("--report", action="store_true", help="also write a page for each video, and one for all")
    add("--crop", metavar="X,Y,W,H", help="part of the frame that the models look at, px")
    add(
        "--dynamic-crop",
        type=float,
        nargs="?",
        const=50.0,
        metavar="MARGIN_PX",
        help="crop each frame around the animal with this margin, 50 px where none is given, for "
        "large frames that make it small (write it after PATH)",
    )
    add(
        "--max-zoom",
        type=float,
        default=2.5,
        metavar="X",
        help="largest magnification by --dynamic-crop (default: 2.5)",
    )
    add("--frame-limit", type=int, default=0, metavar="N", help="frames of each video; 0: all")
    add("--frame-rate", type=float, default=0.0, metavar="HZ", help="true rate; 0: the container's")
    add(
        "--overwrite",
        action="store_true",
        help="analyze again what is finished already, and replace more frames by fewer",
    )


def check_writable(path: Path) -> None:
    """See whether a new file can be written there, before the work that it is to tell of.

    Raises:
        OSError: it cannot.
    """
    path.touch()
    path.unlink()


def read_request(arguments: argparse.Namespace) -> "RequestOptions":
    """Return what to look at in each video.

    Raises:
        InvalidRequest: an option is outside its range.
    """
    from service.dynamic_crop import DynamicCrop
    from service.errors import InvalidRequest
    from service.results import RequestOptions
    from service.results.provenance import DynamicCropOptions

    if arguments.frame_limit < 0 or not 0 <= arguments.frame_rate < math.inf:
        raise InvalidRequest("--frame-limit and --frame-rate are numbers of at least 0")
    crop, follow = None, None
    if arguments.crop:
        parts = arguments.crop.split(",")
        if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
            raise InvalidRequest(
                f"the crop {arguments.crop!r} is not X,Y,W,H in whole px, such as 100,0,640,480"
            )
        x, y, width, height = (int(part) for part in parts)
        crop = (x, y, width, height)
    if arguments.dynamic_crop is not None:
        margin_px, max_zoom = arguments.dynamic_crop, arguments.max_zoom
        DynamicCrop(margin_px=margin_px, max_zoom=max_zoom)  # refuses what is out of range
        follow = DynamicCropOptions(margin_px=margin_px, max_zoom=max_zoom)
    return RequestOptions(
        crop_xywh=crop,
        frame_limit=arguments.frame_limit,
        frame_rate_hz=arguments.frame_rate,
        dynamic_crop=follow,
    )


def read_outputs(arguments: argparse.Namespace) -> "Outputs":
    """Return what to write of each video."""
    from service.jobs.finish import Outputs

    formats = tuple(arguments.format or DEFAULT_FORMATS)
    return Outputs(formats, arguments.overlay, arguments.report)
