"""What each key has used of its limits a minute. In memory: a restart fills all of them. Event loop only."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import RateLimited
from .api_key import ApiKey
from .token_bucket import TokenBucket

_MAX_CLIENTS = 10_000
"""Clients whose dry runs are remembered; the one that sent none for longest is forgotten first."""


@dataclass(frozen=True, slots=True)
class _Buckets:
    requests: TokenBucket | None
    work: TokenBucket | None


class Quotas:
    """The limits a minute of all keys, by their names."""

    def __init__(
        self,
        keys: Mapping[str, ApiKey],
        *,
        dry_runs_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def bucket(per_minute: float | None) -> TokenBucket | None:
            return None if per_minute is None else TokenBucket(per_minute, clock)

        self._keys = keys
        self._dry_runs_per_minute = dry_runs_per_minute
        self._dry_runs: OrderedDict[str, TokenBucket] = OrderedDict()
        self._clock = clock
        self._buckets = {
            name: _Buckets(bucket(key.requests_per_minute), bucket(key.megapixel_steps_per_minute))
            for name, key in keys.items()
        }

    def use_request(self, name: str) -> None:
        """Count a request of a key.

        Raises:
            RateLimited: it has used its requests of this minute; this one is not counted.
        """
        bucket = self._buckets[name].requests
        if bucket is not None and (wait_s := bucket.take(1)) > 0:
            limit = f"{self._keys[name].requests_per_minute:g} requests for images a minute"
            raise RateLimited(
                f"The key {name!r} may send {limit} (keys.{name}.requests_per_minute).", retry_after_s=_whole(wait_s)
            )

    def use_work(self, name: str, megapixel_steps: float) -> None:
        """Count work of a key.

        Args:
            name: of the key.
            megapixel_steps: width x height x steps x images / 1e6.

        Raises:
            RateLimited: it has used its work of this minute; this work is not counted.
        """
        bucket = self._buckets[name].work
        if bucket is None:
            return
        left = bucket.left
        if (wait_s := bucket.take(megapixel_steps)) > 0:
            limit = f"{self._keys[name].megapixel_steps_per_minute:g} a minute"
            raise RateLimited(
                f"The request takes {megapixel_steps:.3g} megapixel-steps (width x height x steps x images / 1e6); the key "
                f"{name!r} may use {limit} (keys.{name}.megapixel_steps_per_minute) and has {left:.3g} left.",
                retry_after_s=_whole(wait_s),
            )

    def use_dry_run(self, client: str) -> None:
        """Count a dry run of a client, with a key or without.

        Raises:
            RateLimited: it has used its dry runs of this minute; this one is not counted.
        """
        limit = self._dry_runs_per_minute
        if limit is None:
            return
        bucket = self._dry_runs.pop(client, None) or TokenBucket(limit, self._clock)
        self._dry_runs[client] = bucket
        while len(self._dry_runs) > _MAX_CLIENTS:
            self._dry_runs.popitem(last=False)
        if (wait_s := bucket.take(1)) > 0:
            raise RateLimited(
                f"You may send {limit:g} dry runs a minute (limits.dry_runs_per_minute).", retry_after_s=_whole(wait_s)
            )

    def requests_left(self, name: str) -> float | None:
        """Return the requests that a key can send now; None for no limit."""
        bucket = self._buckets[name].requests
        return None if bucket is None else math.floor(bucket.left)

    def megapixel_steps_left(self, name: str) -> float | None:
        """Return the work that a key can use now, in megapixel-steps; None for no limit."""
        bucket = self._buckets[name].work
        return None if bucket is None else bucket.left


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
