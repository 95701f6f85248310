"""Webhooks: which addresses are called, what is signed, when it is tried again."""

import asyncio
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from litestar_diffusion.domain.jobs.record import Failure, JobRecord
from litestar_diffusion.domain.jobs.webhooks.deliverer import WebhookDeliverer
from litestar_diffusion.domain.jobs.webhooks.memory_deliveries import MemoryDeliveries
from litestar_diffusion.domain.jobs.webhooks.webhook import (
    DELAYS_S,
    Delivery,
    WebhookPolicy,
    delivery_of,
    next_attempt_s,
    signed_headers,
    wrong_callback,
    wrong_secret,
)
from litestar_diffusion.domain.models.spec import ModelName

POLICY = WebhookPolicy(allowed_hosts=("app.example.org", "*.hooks.example.org"))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://app.example.org/done?x=1", True),
        ("https://APP.example.org:8443", True),
        ("https://app.example.org./", True),
        ("https://app.example.org../", False),
        ("https://a.hooks.example.org/", True),
        ("https://a..hooks.example.org/", False),
        (f"https://{'a' * 63}.hooks.example.org/", True),
        (f"https://{'a' * 64}.hooks.example.org/", False),
        ("https://hooks.example.org/", False),
        ("https://evilhooks.example.org/", False),
        ("https://example.org/", False),
        ("https://app.example.org.evil.com/", False),
        ("https://evil.com/app.example.org", False),
        ("https://app.example.org@evil.com/", False),
        ("https://user:secret@app.example.org/", False),
        ("http://app.example.org/", False),
        ("ftp://app.example.org/", False),
        ("//app.example.org/", False),
        ("https://app.example.org:99999/", False),
        ("https://[::1/", False),
        ("https://app.example.org/\r\nx: y", False),
        ("https://app.example.org\\@evil.com/", False),
        ("https://", False),
        ("", False),
    ],
)
def test_only_allowed_hosts_are_called_and_only_over_tls(url: str, allowed: bool) -> None:
    assert (wrong_callback(url, POLICY) is None) == allowed
    assert wrong_callback(url, WebhookPolicy()) is not None


def test_private_networks_may_be_called_without_tls_if_they_are_allowed() -> None:
    assert wrong_callback("http://10.0.0.7:80/", WebhookPolicy(allowed_hosts=("*",), allow_private=True)) is None


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """With the numbers of the specification's libraries."""
    delivery = Delivery(id="msg_p5jXN8AQM9LWM0D4loKWxJek", job_id="", url="", payload='{"test": 2432232314}', created=0)
    assert signed_headers(delivery, SECRET, 1614265330.9) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_?", SECRET.removeprefix("whsec_")])
def test_a_weak_secret_is_refused(secret: str) -> None:
    assert wrong_secret(secret) is not None
    assert wrong_secret(SECRET) is None


def job(**stated: object) -> JobRecord:
    return replace(
        JobRecord(id="1", model=ModelName("demo"), client="", created=0.0, callback_url="https://x", ended=5.0),
        **stated,
    )


def test_the_message_says_how_the_job_ended() -> None:
    assert delivery_of(job(callback_url=None, state="done")) is None
    failed = delivery_of(job(state="failed", failure=Failure(code="out", message="of luck")))
    assert failed is not None
    told = json.loads(failed.payload)
    assert (told["type"], told["timestamp"]) == ("job.failed", "1970-01-01T00:00:05Z")
    assert (told["data"]["id"], told["data"]["problem"]) == ("1", {"code": "out", "detail": "of luck"})


def test_attempts_go_on_for_more_than_a_day_with_growing_delays() -> None:
    delays = [next_attempt_s(attempts, DELAYS_S, 0) for attempts in range(1, len(DELAYS_S) + 2)]
    assert delays[-1] is None
    assert sorted(delay for delay in delays if delay is not None) == delays[:-1] == list(DELAYS_S)
    assert sum(DELAYS_S) > 86_400
    assert next_attempt_s(1, DELAYS_S, 1) == pytest.approx(6)


def test_a_delivery_is_tried_again_until_it_is_accepted_or_given_up() -> None:
    class Sender:
        def __init__(self) -> None:
            self.answers = ["answered 500", "no answer", None]
            self.sent: list[Delivery] = []

        async def send(self, delivery: Delivery) -> str | None:
            self.sent.append(delivery)
            return self.answers[len(self.sent) - 1] if len(self.sent) <= 3 else "answered 404"

    async def main() -> None:
        deliveries, sender, clock, given_up = MemoryDeliveries(), Sender(), [0.0], list[str]()
        deliverer = WebhookDeliverer(
            deliveries,
            sender,
            WebhookPolicy(delays_s=(10, 20)),
            now=lambda: clock[0],
            jitter=lambda: 0,
            on_given_up=lambda _, problem: given_up.append(problem),
        )
        deliveries.add(Delivery(id="a", job_id="1", url="u", payload="p", created=0))
        made = list[int]()
        for clock[0] in (0, 9, 10, 29, 30, 99):
            await deliverer.look()
            made.append(len(sender.sent))
        assert (made, given_up) == ([1, 1, 2, 2, 3, 3], [])
        deliveries.add(Delivery(id="b", job_id="1", url="u", payload="p", created=0))
        for clock[0] in (100, 110, 130, 999):
            await deliverer.look()
        assert (len(sender.sent), given_up) == (6, ["answered 404"])

    asyncio.run(main())


def test_an_attempt_that_fails_unexpectedly_is_one_failed_attempt_and_delays_no_other_delivery() -> None:
    class Sender:
        async def send(self, delivery: Delivery) -> str | None:
            if delivery.url == "https://odd":
                raise ZeroDivisionError("odd")
            return None

    async def main() -> None:
        deliveries, given_up = MemoryDeliveries(), list[str]()
        deliverer = WebhookDeliverer(
            deliveries,
            Sender(),
            WebhookPolicy(delays_s=()),
            now=lambda: 1.0,
            on_given_up=lambda delivery, problem: given_up.append(f"{delivery.id}: {problem}"),
        )
        for name, url in (("a", "https://odd"), ("b", "https://x")):
            deliveries.add(Delivery(id=name, job_id="1", url=url, payload="p", created=0))
        await deliverer.look()
        assert given_up == ["a: unexpected ZeroDivisionError: odd"]
        assert await deliveries.take_due(1e9, 9, 1e9) == []

    asyncio.run(main())


def test_the_example_of_the_documentation_checks_messages_as_they_are_sent() -> None:
    page = (Path(__file__).parents[4] / "docs" / "jobs.md").read_text()
    example, *_ = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    delivery = delivery_of(job(state="done"))
    assert delivery is not None
    headers, body = signed_headers(delivery, SECRET, time.time()), delivery.payload.encode()
    names["verify"](SECRET, headers, body)
    for wrong in ((SECRET, headers, body + b" "), (SECRET, {**headers, "webhook-id": "x"}, body)):
        with pytest.raises(ValueError, match="not signed"):
            names["verify"](*wrong)
    with pytest.raises(ValueError, match="too old"):
        names["verify"](SECRET, signed_headers(delivery, SECRET, time.time() - 999), body)
