"""Lets web pages of other origins read the answers; `origin_check` decides who may send requests."""

from collections.abc import Sequence

from litestar.config.cors import CORSConfig

_READABLE = (
    "link",
    "location",
    "preference-applied",
    "retry-after",
    "server-timing",
    "x-adapters",
    "x-guidance-scale",
    "x-height",
    "x-memory-savings",
    "x-model",
    "x-request-id",
    "x-residency",
    "x-sampler",
    "x-seed",
    "x-steps",
    "x-upscaler",
    "x-warnings",
    "x-width",
)
"""The headers of ours that a script may read."""


def cors_config(allowed_origins: Sequence[str]) -> CORSConfig | None:
    """For the standalone application; None if no other origin is allowed."""
    if not allowed_origins:
        return None
    return CORSConfig(allow_origins=list(allowed_origins), expose_headers=list(_READABLE))
