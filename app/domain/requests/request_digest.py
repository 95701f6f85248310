"""Tells requests that are equal, by a digest."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .pictures.picture import FileContent


async def request_digest(body: msgspec.Struct, *more: str) -> bytes:
    """Compute SHA-256 of a request; its pictures, which may be large, by their own digests in a thread.

    Args:
        body: its parameters.
        more: what else must be equal, such as the model.
    """
    values: Iterator[tuple[str, Any]] = ((field, getattr(body, field)) for field in body.__struct_fields__)
    files: dict[str, FileContent] = {field: value for field, value in values if isinstance(value, bytes | memoryview)}
    digests = await asyncio.to_thread(_digests, files) if files else {}
    # JSON, because msgpack fails on integers beyond 64 bits.
    return hashlib.sha256(msgspec.json.encode((*more, msgspec.structs.replace(body, **digests)))).digest()


def _digests(files: Mapping[str, FileContent]) -> dict[str, bytes]:
    return {field: hashlib.sha256(data).digest() for field, data in files.items()}
