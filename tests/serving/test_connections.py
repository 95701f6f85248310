"""Slow, silent and greedy connections end, and keep no other client from its answer. Real sockets, one server."""

import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest

from litestar_diffusion.settings import LimitsSettings

from .running import (
    SERVER,
    Running,
    answer_on,
    hold,
    is_closed,
    let_go,
    request,
    running,
    wait_until,
)

BODY = json.dumps({"prompt": "x"}).encode()
HALF = request("POST", "/generate/demo", BODY[:5], length=len(BODY))


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    """A server whose time-outs are 0.4 s."""
    with pytest.MonkeyPatch.context() as monkeypatch, running(monkeypatch) as started:
        yield started


@pytest.fixture(scope="module")
def small() -> Iterator[Running]:
    """A server for four connections, three of one address, with 100 kB for bodies; its time-outs are far away."""
    server = msgspec.structs.replace(
        SERVER,
        max_connections=4,
        max_connections_per_address=3,
        header_timeout_s=60,
        body_timeout_s=60,
        write_timeout_s=60,
    )
    limits = LimitsSettings(max_buffered_bytes=100_000)
    with pytest.MonkeyPatch.context() as monkeypatch, running(monkeypatch, server, limits) as started:
        yield started


def test_a_silent_connection_is_closed_without_a_word(impatient: Running) -> None:
    with impatient.connect() as connection:
        assert connection.recv(1) == b""


def test_answers_on_a_kept_connection_are_not_held_back(impatient: Running) -> None:
    """Nagle's algorithm and delayed acknowledgements together cost 40 ms an answer."""
    with impatient.connect() as connection:
        begun = time.monotonic()
        for _ in range(25):
            connection.sendall(request("GET", "/health/live"))
            assert answer_on(connection).status == 200
        assert time.monotonic() - begun < 25 * 0.04


def test_a_header_that_does_not_end_gets_408_however_often_a_byte_comes(impatient: Running) -> None:
    with impatient.connect() as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
        trickle(connection)
        answer = answer_on(connection)
        assert (answer.status, answer.json["code"]) == (408, "header_too_slow")
        assert "server.header_timeout_s" in answer.json["detail"]
        assert is_closed(connection)


def test_a_second_header_that_does_not_end_gets_408_too(impatient: Running) -> None:
    with impatient.connect() as connection:
        connection.sendall(request("GET", "/health/live"))
        assert answer_on(connection).status == 200
        connection.sendall(b"GET /health/live HT")
        assert answer_on(connection).status == 408


@pytest.mark.parametrize("path", ["/generate/demo", "/v1/images/generations", "/sdapi/v1/txt2img"])
def test_a_body_that_does_not_come_gets_408_and_the_connection_is_closed(impatient: Running, path: str) -> None:
    with impatient.connect() as connection:
        connection.sendall(request("POST", path, b"{", length=1000))
        trickle(connection)
        answer = answer_on(connection)
        assert answer.status == 408
        assert b"body_too_slow" in answer.body
        assert b"server.body_timeout_s" in answer.body
        assert is_closed(connection)


def test_the_rest_of_a_body_that_was_answered_already_is_not_awaited(impatient: Running) -> None:
    with impatient.connect() as connection:
        connection.sendall(request("POST", "/nowhere", b"{", length=1000))
        assert answer_on(connection).status == 404
        trickle(connection)
        assert is_closed(connection)


def test_an_answer_that_is_not_read_is_dropped(impatient: Running) -> None:
    assets = request("GET", "/schema-assets/swagger/swagger-ui-bundle.js")
    with impatient.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(assets * 20)
        wait_until(lambda: impatient.connections == 1)
        wait_until(lambda: impatient.connections == 0)


def test_answers_that_are_not_read_hold_a_slice_each(small: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(small.connect())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(request("GET", "/schema-assets/swagger/swagger-ui-bundle.js") * 20)
        wait_until(lambda: small.busy == 3 and small.server.watched.unsent_nbytes > 3 * 64_000)
        assert small.server.watched.unsent_nbytes < 3 * 300_000


def test_an_answer_that_is_read_slowly_but_steadily_arrives(impatient: Running) -> None:
    with impatient.connect() as connection:
        connection.sendall(request("GET", "/schema-assets/swagger/swagger-ui-bundle.js", close=True))
        nbytes = 0
        while data := connection.recv(30_000):
            nbytes += len(data)
        assert nbytes > 1_000_000


def test_two_statements_of_a_bodys_length_are_refused(impatient: Running) -> None:
    head = request("POST", "/generate/demo", BODY).replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n")
    with impatient.connect() as connection:
        connection.sendall(head)
        answer = answer_on(connection)
        assert answer.status == 400
        assert is_closed(connection)


def test_idle_connections_make_room_for_new_ones(small: Running) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(small.connect()) for _ in range(40)]
        assert small.get("/health/live").status == 200
        assert small.get("/models").status == 200
        assert is_closed(silent[0])
        assert small.connections <= 4


@pytest.mark.skipif(sys.platform != "linux", reason="needs all of 127.0.0.0/8")
def test_a_flood_of_one_address_ends_its_own_connections_and_not_those_that_others_keep(small: Running) -> None:
    wait_until(lambda: small.connections == 0)
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(small.connect("127.0.0.2"))
        kept.sendall(request("GET", "/health/live"))
        assert answer_on(kept).status == 200
        for _ in range(10):
            stack.enter_context(small.connect("127.0.0.3"))
        wait_until(lambda: small.connections == 4)
        new = stack.enter_context(small.connect("127.0.0.4"))
        new.sendall(request("GET", "/health/live"))
        assert answer_on(new).status == 200
        kept.sendall(request("GET", "/health/live"))
        assert answer_on(kept).status == 200


def test_if_all_connections_of_an_address_are_busy_health_alone_is_answered(small: Running) -> None:
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(small.connect()) for _ in range(3)]
        for connection in busy:
            connection.sendall(HALF)
        wait_until(lambda: small.busy == 3)
        refused = small.get("/models")
        assert refused.json["code"] == "too_many_connections"
        assert "server.max_connections_per_address" in refused.json["detail"]
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("5", "close")
        assert small.get("/health/live").status == 200
        for connection in busy:
            connection.sendall(BODY[5:])
        assert [answer_on(connection).status for connection in busy] == [200] * 3


def test_bodies_that_are_held_are_bounded_and_the_bound_is_shared(small: Running) -> None:
    padded = BODY + b" " * 60_000
    with small.connect() as greedy, small.connect() as other:
        greedy.sendall(request("POST", "/generate/demo", padded[:-1], length=len(padded)))
        answer = answer_on(greedy)
        assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "bodies_full", "5")
        assert "limits.max_buffered_bytes" in answer.json["detail"]
        other.sendall(request("POST", "/generate/demo", BODY))
        assert answer_on(other).status == 200


def test_bodies_are_given_back_when_their_requests_are_answered(small: Running) -> None:
    padded = BODY + b" " * 40_000
    with small.connect() as connection:
        for _ in range(5):
            connection.sendall(request("POST", "/generate/demo", padded))
            assert answer_on(connection).status == 200


def test_a_request_in_work_outlives_all_time_outs(impatient: Running) -> None:
    hold(impatient.server, impatient.engine)
    with impatient.connect() as connection:
        connection.sendall(request("POST", "/generate/demo", BODY))
        wait_until(lambda: impatient.engine.requests)
        with impatient.connect() as silent:  # gone after the time-out that the request has outlived then, too
            assert silent.recv(1) == b""
        let_go(impatient.server, impatient.engine)
        assert answer_on(connection).status == 200


def trickle(connection: socket.socket) -> None:
    """Send a byte now and then, until the server answers or closes."""
    connection.settimeout(0.05)
    while True:
        try:
            connection.sendall(b"x")
            connection.recv(1, socket.MSG_PEEK)
            break
        except TimeoutError:
            continue
        except OSError:
            break
    connection.settimeout(20)


def test_a_second_ctrl_c_ends_running_images_with_a_503_document_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = msgspec.structs.replace(SERVER, shutdown_grace_s=600)
    with running(monkeypatch, server) as started, started.connect() as connection:
        hold(started.server, started.engine)
        connection.sendall(request("POST", "/generate/demo", BODY))
        wait_until(lambda: started.engine.running)
        started.server.handle_exit(signal.SIGINT, None)
        wait_until(lambda: "shutting down" in (started.services.not_ready_because() or ""))
        started.server.handle_exit(signal.SIGINT, None)
        wait_until(lambda: started.server.plugin.hurried)
        let_go(started.server, started.engine)  # the image comes to its next step
        answer = answer_on(connection)
        assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "shutting_down", "5")
    assert not [record for record in caplog.records if record.exc_info]
