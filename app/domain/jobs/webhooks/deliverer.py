"""Delivers webhooks: takes those that are due, sends them, tries again later."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from ...errors import StorageUnavailable
from .deliveries import Deliveries
from .webhook import Delivery, WebhookPolicy, next_attempt_s

_TICK_S = 1.0
_AT_ONCE = 16
_LOST_S = 60.0
"""Seconds after which an attempt counts as lost, because its process has ended."""


class WebhookSender(Protocol):
    """Sends one delivery."""

    async def send(self, delivery: Delivery) -> str | None:
        """Make an attempt; takes a bounded time.

        Returns:
            None if the receiver has accepted it, otherwise why not.
        """
        ...


class WebhookDeliverer:
    """Looks for due deliveries every second. Event loop only."""

    def __init__(
        self,
        deliveries: Deliveries,
        sender: WebhookSender,
        policy: WebhookPolicy,
        *,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        on_given_up: Callable[[Delivery, str], None] = lambda _delivery, _problem: None,
        tick_s: float = _TICK_S,
    ) -> None:
        """Make a deliverer that does nothing yet.

        Args:
            deliveries: to make.
            sender: makes an attempt.
            policy: has the delays.
            now: clock, in seconds since the epoch.
            jitter: random numbers, 0 to 1.
            on_given_up: receives deliveries after their last attempt, and what was wrong with it.
            tick_s: seconds between two looks.
        """
        self._deliveries = deliveries
        self._sender = sender
        self._policy = policy
        self._now = now
        self._jitter = jitter
        self._on_given_up = on_given_up
        self._tick_s = tick_s

    async def run(self) -> None:
        """Deliver until cancelled. If the database does not answer, look again later."""
        while True:
            with suppress(StorageUnavailable):
                await self.look()
            await asyncio.sleep(self._tick_s)

    async def look(self) -> None:
        """Make the attempts that are due."""
        now = self._now()
        due = await self._deliveries.take_due(now, _AT_ONCE, now + _LOST_S)
        await asyncio.gather(*(self._attempt(delivery) for delivery in due))

    async def _attempt(self, delivery: Delivery) -> None:
        problem = await self._sent(delivery)
        if problem is None:
            await self._deliveries.delivered(delivery.id)
            return
        wait_s = next_attempt_s(delivery.attempts, self._policy.delays_s, self._jitter())
        await self._deliveries.failed(delivery.id, problem, None if wait_s is None else self._now() + wait_s)
        if wait_s is None:
            self._on_given_up(delivery, problem)

    async def _sent(self, delivery: Delivery) -> str | None:
        try:
            return await self._sender.send(delivery)
        except Exception as error:  # one address that cannot be handled must not end the attempts at all others
            return f"unexpected {type(error).__name__}: {error}"
