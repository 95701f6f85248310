"""The answer to a request that only has something done."""

import msgspec


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """An empty object: it was done."""
