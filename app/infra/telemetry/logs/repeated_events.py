"""Finds events that repeat too often to be written each time. Not thread-safe: the handler's lock guards it."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

REPEATED = "repeated"
"""Fact that tells how many equal events were left out."""
_OWN_FACTS = frozenset({"timestamp", "request_id", "ms", "bytes", "id", "job", "instance"})
"""Facts that differ between events which are equal for a reader."""
_MAX_KEYS = 1_000


@dataclass(slots=True)
class _Seen:
    count: int
    last: logging.LogRecord


class RepeatedEvents:
    """Lets a few equal events a second pass, and counts the others, for one line that tells their number."""

    def __init__(self, most_per_s: int = 20, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most_per_s
        self._clock = clock
        self._period_s = 1.0
        self._began_s = clock()
        self._seen: dict[object, _Seen] = {}

    def passes(self, record: logging.LogRecord) -> bool:
        """Count an event; returns whether it is to be written."""
        key = _key(record)
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) < _MAX_KEYS:
                self._seen[key] = _Seen(1, record)
            return True
        seen.count, seen.last = seen.count + 1, record
        return seen.count <= self._most

    def summaries(self) -> Iterator[logging.LogRecord]:
        """Yield, once a second, a record for each event that was left out, with the number."""
        now = self._clock()
        if now - self._began_s < self._period_s:
            return
        self._began_s, seen, self._seen = now, self._seen, {}
        for each in seen.values():
            if each.count > self._most:
                yield _summary(each.last, each.count - self._most)

    def end(self) -> None:
        """Have `summaries` wait no longer."""
        self._period_s = 0.0


def _key(record: logging.LogRecord) -> object:
    if isinstance(record.msg, Mapping):
        facts = cast("Mapping[str, Any]", record.msg)
        told = repr([(name, value) for name, value in facts.items() if name not in _OWN_FACTS])
    else:
        told = record.getMessage()
    return record.name, record.levelno, told


def _summary(record: logging.LogRecord, times: int) -> logging.LogRecord:
    summary = copy(record)
    summary.exc_info = summary.exc_text = None
    if isinstance(record.msg, Mapping):
        facts = cast("Mapping[str, Any]", record.msg)
        summary.msg = {**{name: value for name, value in facts.items() if name != "exc_info"}, REPEATED: times}
    else:
        summary.msg, summary.args = f"{record.getMessage()} ({REPEATED} {times} times)", None
    return summary
