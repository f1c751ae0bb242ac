"""Who can reach an address, and who called."""

import pytest

from service.addresses import is_local_address, is_local_peer, socket_path, split_address
from service.config import ServerConfig
from service.errors import InvalidConfig
from service.server import check_exposure


@pytest.mark.parametrize(
    "address", ["127.0.0.1:0", "localhost:50051", "[::1]:5", "127.8.9.1:1", "unix:/run/e.sock"]
)
def test_loopback_and_unix_sockets_need_neither_tls_nor_tokens(address):
    assert is_local_address(address)
    check_exposure(ServerConfig(listen=address))


@pytest.mark.parametrize("address", ["0.0.0.0:50051", "[::]:5", "192.0.2.1:5", "rig.example:5"])
def test_other_addresses_do(address):
    assert not is_local_address(address)
    with pytest.raises(InvalidConfig, match="TLS and tokens"):
        check_exposure(ServerConfig(listen=address))
    check_exposure(ServerConfig(listen=address, insecure=True))


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"tls_certificate": "c.pem"}, "both tls_certificate and tls_key"),
        ({"tls_client_ca": "ca.pem"}, "beside tls_client_ca"),
    ],
)
def test_a_part_of_tls_is_refused(files, problem):
    with pytest.raises(InvalidConfig, match=problem):
        check_exposure(ServerConfig(**files))


def test_an_address_is_split_and_a_socket_has_a_path():
    assert split_address("[::1]:50051") == ("::1", 50051)
    assert socket_path("unix:/run/e.sock") == socket_path("unix:///run/e.sock") == "/run/e.sock"
    assert socket_path("unix:e.sock") == "e.sock"
    assert socket_path("127.0.0.1:5") == ""
    for wrong in ("unix:", "127.0.0.1", ":5", "127.0.0.1:99999", "127.0.0.1:x"):
        with pytest.raises(InvalidConfig, match="address"):
            is_local_address(wrong)


@pytest.mark.parametrize(
    ("peer", "is_local"),
    [
        ("ipv4:127.0.0.1:40001", True),
        ("ipv6:%5B::1%5D:40001", True),
        ("ipv6:[::1]:40001", True),
        ("unix:", True),
        ("unix:/run/e.sock", True),
        ("ipv4:10.0.0.7:40001", False),
        ("ipv6:%5Bfe80::1%5D:40001", False),
        ("vsock:2:5", False),
        ("", False),
    ],
)
def test_a_caller_is_known_by_where_it_came_from(peer, is_local):
    assert is_local_peer(peer) is is_local
