"""Addresses and files that cannot reach a server are refused before gRPC guesses at them."""

from pathlib import Path

import pytest
from ethostream import TlsOptions
from ethostream.channel import open_channel
from ethostream.errors import InvalidRequest


@pytest.mark.parametrize(
    "address", ["127.0.0.1:99999", "127.0.0.1", ":50051", "rig", "", "rig:", "rig:x", "rig:0"]
)
def test_an_address_without_a_host_and_a_port_is_refused(address: str) -> None:
    with pytest.raises(InvalidRequest, match=r"is not HOST:PORT, such as 127\.0\.0\.1:50051"):
        open_channel(address, tls=None, max_message_bytes=1 << 20, keepalive_seconds=0)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "[::1]:65535", "rig.example:5", "unix:/run/e.sock", "dns:///rig:5"]
)
async def test_addresses_with_both_and_sockets_are_taken(address: str) -> None:
    channel = open_channel(address, tls=None, max_message_bytes=1 << 20, keepalive_seconds=0)
    await channel.close()


def test_a_file_that_is_no_pem_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(b"no certificate")
    with pytest.raises(InvalidRequest, match=r"root\.pem holds no certificate or key in PEM"):
        TlsOptions(tmp_path / "root.pem").credentials()
