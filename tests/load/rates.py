"""Speed of a server under load: images a second, and the latency of `/health/live` at the same time."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

_HEALTH_EVERY_S = 0.02


def images_a_second(client: httpx.Client, path: str, body: Mapping[str, Any], *, clients: int, images: int) -> float:
    """Rate of `images` requests with a seed each, sent by so many clients at once."""

    def ask(seed: int) -> None:
        client.post(path, json={**body, "seed": seed}).raise_for_status()

    with ThreadPoolExecutor(clients) as pool:
        begun = time.perf_counter()
        list(pool.map(ask, range(images)))
        return images / (time.perf_counter() - begun)


@contextmanager
def health_watched(url: httpx.URL | str) -> Iterator[list[float]]:
    """Ask for `/health/live` every 20 ms; the list holds the seconds of each answer."""
    ended, waits = threading.Event(), list[float]()

    def watch() -> None:
        with httpx.Client(base_url=url) as client:
            while not ended.wait(_HEALTH_EVERY_S):
                waits.append(timed(lambda: client.get("/health/live").raise_for_status()))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield waits
    finally:
        ended.set()
        watching.join()


def p99(seconds: list[float]) -> float:
    """The 99th percentile."""
    return sorted(seconds)[max(0, int(len(seconds) * 0.99) - 1)]


def median_of(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call."""
    return statistics.median(timed(work) for _ in range(repeats))


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
