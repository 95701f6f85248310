"""Sends webhooks: one POST, signed, to an address that was checked, without following redirects."""

import asyncio
import time

import httpcore

from ...domain.jobs.webhooks.webhook import Delivery, signed_headers
from .public_network import PublicNetwork


class HttpWebhookSender:
    """Implements `WebhookSender`."""

    def __init__(self, secret: str, *, allow_private: bool, timeout_s: float) -> None:
        """Open no connection yet.

        Args:
            secret: signs what is sent.
            allow_private: whether private addresses may be called.
            timeout_s: seconds after which an attempt has failed.
        """
        self._secret = secret
        self._timeout_s = timeout_s
        self._network = PublicNetwork(allow_private=allow_private)

    async def send(self, delivery: Delivery) -> str | None:
        """Make an attempt; see `WebhookSender.send`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._post(delivery)
        except TimeoutError:
            return f"no answer within {self._timeout_s:g} s"
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return f"{type(error).__name__}: {error}"
        return None if 200 <= status < 300 else f"answered {status}"

    async def _post(self, delivery: Delivery) -> int:
        headers = {
            "content-type": "application/json",
            "user-agent": "litestar-diffusion",
            **signed_headers(delivery, self._secret, time.time()),
        }
        # A pool for each: connections are not kept, because a receiver may hear from us once a day.
        async with (
            httpcore.AsyncConnectionPool(network_backend=self._network) as pool,
            pool.stream(
                "POST", delivery.url, headers=list(headers.items()), content=delivery.payload.encode()
            ) as response,
        ):
            return response.status
