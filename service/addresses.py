"""Addresses to listen on, and whether who calls is on this machine."""

import ipaddress
from urllib.parse import unquote

from service.errors import InvalidConfig

_UNIX = "unix:"


def split_address(text: str) -> tuple[str, int]:
    """Split HOST:PORT, also [IPV6]:PORT.

    Raises:
        InvalidConfig: there is no host or no port from 0 to 65535.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidConfig(f"the address {text!r} is not HOST:PORT, such as 127.0.0.1:50051")
    return host.strip("[]"), int(port)


def socket_path(address: str) -> str:
    """Return the path of a Unix socket's address, unix:PATH; empty where it is no such address.

    Raises:
        InvalidConfig: there is no path.
    """
    if not address.startswith(_UNIX):
        return ""
    path = address.removeprefix(_UNIX)
    if path.startswith("//"):  # unix:///run/ethostream.sock is the same
        path = path[2:]
    if not path:
        raise InvalidConfig(f"the address {address!r} has no path; give unix:PATH of a socket")
    return path


def is_local_address(address: str) -> bool:
    """Whether only programs of this machine reach a server there.

    Raises:
        InvalidConfig: it is neither HOST:PORT nor unix:PATH.
    """
    return bool(socket_path(address)) or _is_loopback(split_address(address)[0])


def is_local_peer(peer: str) -> bool:
    """Whether a caller, as gRPC names it, came over loopback or a Unix socket."""
    kind, _, address = unquote(peer).partition(":")
    return kind == "unix" or _is_loopback(address.rpartition(":")[0].strip("[]"))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
