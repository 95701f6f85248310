"""Webhooks: what is told of the end of a job, to which addresses, how it is signed, and when it is tried again. Pure functions.

Headers, signature and delays follow https://www.standardwebhooks.com, for which there are libraries in most languages.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from ...shown import cut
from ..record import JobRecord

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with
_SECRET_NBYTES = range(24, 65)
_LABEL_NCHARS = range(1, 64)
"""Characters of a label of a host name (RFC 1035)."""
DELAYS_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0)
"""Seconds between an attempt and the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPolicy:
    """Which addresses may be called, and how often."""

    allowed_hosts: tuple[str, ...] = ()
    """Names, `*.` before one for all names below it, or `*` for all; none if webhooks are off."""
    allow_private: bool = False
    """Whether the address may be one of a private network, or without encryption."""
    delays_s: Sequence[float] = DELAYS_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one address. It is the same at each attempt."""

    id: str
    job_id: str
    url: str
    payload: str
    created: float
    attempts: int = 0
    """Attempts that were begun."""


def wrong_secret(secret: str) -> str | None:
    """Return what is wrong with a secret of the settings."""
    try:
        nbytes = len(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True))
    except binascii.Error:
        nbytes = 0
    if secret.startswith(SECRET_PREFIX) and nbytes in _SECRET_NBYTES:
        return None
    return f"must be {SECRET_PREFIX} and 24 to 64 random bytes in base64"


def wrong_callback(url: str, policy: WebhookPolicy) -> str | None:
    """Return why an address may not be called; None if it may, as far as that is known before its name is looked up."""
    if not policy.allowed_hosts:
        return "is not accepted: this server calls no addresses (webhooks.allowed_hosts in the settings)"
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        return f"must be a URL, got {cut(url)!r}"
    schemes = ("https", "http") if policy.allow_private else ("https",)
    if parts.scheme not in schemes or not host or not url.isascii() or not url.isprintable() or " " in url:
        return f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}, got {cut(url)!r}"
    if parts.username is not None or parts.password is not None:
        return "must hold no user name and no password"
    if not all(len(label) in _LABEL_NCHARS for label in host.split(".")):
        return f"names a host that cannot exist, {cut(host)!r}: each part between two dots has 1 to 63 characters"
    if not any(_matches(host, allowed) for allowed in policy.allowed_hosts):
        return f"names a host that is not allowed: {cut(host)!r} (webhooks.allowed_hosts in the settings)"
    return None


def _matches(host: str, allowed: str) -> bool:
    allowed = allowed.lower()
    return allowed in ("*", host) or (allowed.startswith("*.") and host.endswith(allowed[1:]))


def delivery_of(job: JobRecord) -> Delivery | None:
    """Make the message about the end of a job; None if no address is to be told."""
    if job.callback_url is None:
        return None
    ended = job.ended or job.created
    data = {
        "id": job.id,
        "model": job.model,
        "state": job.state,
        "created": _moment(job.created),
        "started": _moment(job.started),
        "ended": _moment(ended),
        "restarts": job.restarts,
        "problem": None if job.failure is None else {"code": job.failure.code, "detail": job.failure.message},
    }
    payload = {"type": f"job.{job.state}", "timestamp": _moment(ended), "data": data}
    text = msgspec.json.encode(payload).decode()
    return Delivery(id=f"msg_{job.id}", job_id=job.id, url=job.callback_url, payload=text, created=ended)


def signed_headers(delivery: Delivery, secret: str, now: float) -> dict[str, str]:
    """Return the headers of an attempt: the id, which stays the same, the time, and the signature of both and the body."""
    timestamp = str(int(now))
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    content = f"{delivery.id}.{timestamp}.{delivery.payload}".encode()
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {"webhook-id": delivery.id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}


def next_attempt_s(attempts: int, delays_s: Sequence[float], jitter: float) -> float | None:
    """Return the seconds until the next attempt; None if there is none.

    Args:
        attempts: that have failed.
        delays_s: between attempts.
        jitter: 0 to 1; up to a fifth is added, so that deliveries that failed together are not tried together.
    """
    return delays_s[attempts - 1] * (1 + jitter / 5) if attempts <= len(delays_s) else None


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
