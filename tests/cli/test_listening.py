"""The address of `serve` in the spellings that people use, and a clear error for what is no address."""

import socket

import pytest

from litestar_diffusion.cli.failures import Failure
from litestar_diffusion.cli.listening import listen
from litestar_diffusion.settings import ServerSettings

HAS_IPV6 = socket.has_ipv6 and any(
    each[4][0] == "::1" for each in socket.getaddrinfo("::1", None, type=socket.SOCK_STREAM)
)


@pytest.mark.parametrize(
    ("host", "bound"),
    [("127.0.0.1", "127.0.0.1"), (" 127.0.0.1 ", "127.0.0.1"), ("127.1", "127.0.0.1"), ("localhost", "127.0.0.1")],
)
def test_ipv4_in_any_spelling(host: str, bound: str) -> None:
    with listen(host, 0) as listening:
        assert listening.getsockname()[0] == bound


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]", "0:0:0:0:0:0:0:1"])
def test_ipv6_with_and_without_brackets(host: str) -> None:
    with listen(host, 0) as listening:
        assert listening.getsockname()[0] == "::1"


@pytest.mark.parametrize(
    "host", ["256.1.1.1", "[::", "127.0.0.1:80", "http://127.0.0.1", "a..b", "a" * 100 + ".x", "x\x00y", "\udc80"]
)
def test_what_is_no_address_is_a_clear_error(host: str) -> None:
    with pytest.raises(Failure, match="Give an address alone"):
        listen(host, 0)


@pytest.mark.parametrize("host", ["", "  ", "[]"])
def test_an_empty_host_does_not_mean_all_interfaces(host: str) -> None:
    with pytest.raises(Failure, match="The host is empty"):
        listen(host, 0)


def test_an_address_of_another_machine_is_a_clear_error() -> None:
    with pytest.raises(Failure, match="not an address of this machine"):
        listen("192.0.2.1", 0)  # of TEST-NET-1, which no machine has


def test_a_port_in_use_is_a_clear_error() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(Failure, match="Choose another with --port"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_the_url_of_an_address_in_brackets_has_one_pair_of_them() -> None:
    assert ServerSettings(host="[::1]", port=80).url == "http://[::1]:80"
