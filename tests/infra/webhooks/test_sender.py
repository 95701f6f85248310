"""Webhooks over real sockets."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from litestar_diffusion.domain.jobs.webhooks.webhook import Delivery
from litestar_diffusion.infra.webhooks.public_network import is_public
from litestar_diffusion.infra.webhooks.sender import HttpWebhookSender
from tests.domain.jobs.webhooks.test_webhooks import SECRET


@asynccontextmanager
async def receiver(answer: bytes | None, seen: list[bytes]) -> AsyncIterator[int]:
    """Listens on a port, notes requests, and answers all of them with the same bytes; None: with nothing."""

    handling = set[asyncio.Task[None]]()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.add(asyncio.current_task())  # type: ignore[arg-type]
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")
            )
            seen.append(head + await reader.readexactly(length))
            if answer is not None:
                writer.write(answer)
                await writer.drain()
            await reader.read()  # until the other side closes
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    if handling:
        await asyncio.wait(handling, timeout=10)


def attempt(
    answer: bytes | None, *, allow_private: bool = True, host: str = "127.0.0.1"
) -> tuple[str | None, list[bytes]]:
    seen = list[bytes]()

    async def main() -> str | None:
        async with receiver(answer, seen) as port:
            sender = HttpWebhookSender(SECRET, allow_private=allow_private, timeout_s=1)
            delivery = Delivery(id="msg_1", job_id="1", url=f"http://{host}:{port}/x?y=1", payload='{"a":1}', created=0)
            return await sender.send(delivery)

    return asyncio.run(main()), seen


def test_a_delivery_is_posted_with_its_signature() -> None:
    problem, (request,) = attempt(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert problem is None
    assert request.startswith(b"post /x?y=1 http/1.1\r\n")
    for part in (b"webhook-id: msg_1", b"webhook-signature: v1,", b"content-type: application/json", b'{"a":1}'):
        assert part in request


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "answered 500"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "answered 302"),
        (b"hello\r\n\r\n", "RemoteProtocolError"),
        (None, "no answer within 1 s"),
    ],
    ids=["error", "redirect", "no-http", "silence"],
)
def test_what_is_no_success_is_said_and_redirects_are_not_followed(answer: bytes | None, problem: str) -> None:
    said, seen = attempt(answer)
    assert said is not None
    assert said.startswith(problem)
    assert len(seen) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"])
def test_private_addresses_are_not_called(host: str) -> None:
    problem, seen = attempt(b"", allow_private=False, host=host)
    assert problem is not None
    assert "ConnectError" in problem
    assert seen == []


def test_a_name_that_leads_to_a_private_address_among_public_ones_is_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the name is looked up once, at the attempt, and the address that was checked is the one that is called."""
    asked = list[str]()

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        addresses = ["93.184.216.34", "169.254.169.254"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr("socket.getaddrinfo", lookup)
    problem, seen = attempt(b"", allow_private=False, host="app.example.org")
    assert problem is not None
    assert "private address" in problem
    assert (seen, asked.count("app.example.org")) == ([], 1)


@pytest.mark.parametrize("host", ["app.example.org..", "a" * 64 + ".example.org"])
def test_a_name_that_cannot_be_looked_up_is_a_failed_attempt(host: str) -> None:
    problem, seen = attempt(b"", host=host)
    assert problem is not None
    assert problem.startswith("ConnectError")
    assert seen == []


def test_look_ups_that_no_resolver_answers_occupy_no_thread_of_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, asked = threading.Event(), threading.Event()

    def lookup(*_: object, **__: object) -> list[Any]:
        asked.set()
        raise socket.gaierror(-3, "answered" if answered.wait(10) else "not answered")

    monkeypatch.setattr("socket.getaddrinfo", lookup)

    async def main() -> list[str | None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        sender = HttpWebhookSender(SECRET, allow_private=False, timeout_s=20)
        delivery = Delivery(id="msg_1", job_id="1", url="https://app.example.org/", payload="{}", created=0)
        sending = [asyncio.create_task(sender.send(delivery)) for _ in range(2)]
        while not asked.is_set():  # noqa: ASYNC110 - it is set in a thread
            await asyncio.sleep(0)
        await asyncio.to_thread(answered.set)
        return await asyncio.gather(*sending)

    for problem in asyncio.run(main()):
        assert "no address: [Errno -3] answered" in str(problem)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("2002:0a00:0001::", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::a00:1", False),
        ("fec0::1", False),
        ("::10.0.0.1", False),
        ("::ffff:0:10.0.0.1", False),
        ("::ffff:0:93.184.216.34", False),
        ("2001:db8::1", False),
    ],
)
def test_public_addresses_are_those_of_the_internet(address: str, public: bool) -> None:
    assert is_public(address) == public
