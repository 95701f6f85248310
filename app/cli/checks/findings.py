"""What `litestar-diffusion check` finds: one line for each thing that it has looked at."""

from typing import Literal

import msgspec

State = Literal["ok", "warning", "failed"]


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at."""

    check: str
    state: State
    detail: str
    hint: str = ""
    """What to do next; empty if nothing is wrong."""


def ok(check: str, detail: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check=check, state="ok", detail=detail)


def warning(check: str, detail: str, hint: str) -> Finding:
    """Return that the server will start, but not as its settings say."""
    return Finding(check=check, state="warning", detail=detail, hint=hint)


def failed(check: str, detail: str, hint: str) -> Finding:
    """Return that the server, or its default model, will not work."""
    return Finding(check=check, state="failed", detail=detail, hint=hint)
