"""Counters and histograms under the prefix of this package, in a registry of our own."""

from prometheus_client import CollectorRegistry, Counter, Histogram

PREFIX = "litestar_diffusion"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)
"""Buckets: from a hot encode to a download."""


def counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    """Make a counter."""
    return Counter(f"{PREFIX}_{name}", text, labels, registry=registry)


def seconds(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Histogram:
    """Make a histogram of seconds."""
    return Histogram(f"{PREFIX}_{name}", text, labels, buckets=_SECONDS, registry=registry)
