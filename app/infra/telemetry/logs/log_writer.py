"""Writes log lines in a thread of its own, because a terminal or a pipe that is not read blocks the one that writes."""

import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import TextIO

_MAX_LINES = 5_000
_TICK_S = 1.0
_RETRY_S = 0.05
"""Seconds until a descriptor that does not block is tried again."""


class LogWriter:
    """A bounded queue of lines, and the thread that writes them. If the queue is full, lines are dropped and counted.

    All methods may be called from any thread, also in signal handlers; none of them blocks but `flush`.
    """

    def __init__(
        self,
        stream: Callable[[], TextIO],
        *,
        told_dropped: Callable[[int], str],
        on_tick: Callable[[], None] = lambda: None,
        max_lines: int = _MAX_LINES,
    ) -> None:
        """Start no thread yet.

        Args:
            stream: to write to; asked for at each line, because live bars put themselves before standard error.
            told_dropped: makes the line that tells how many lines are missing.
            on_tick: called in the thread once a second while there is nothing to write.
            max_lines: that wait.
        """
        self._stream = stream
        self._told_dropped = told_dropped
        self._on_tick = on_tick
        self._max_lines = max_lines
        self._lines: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        self._dropped = 0
        self._pid: int | None = None

    @property
    def waiting(self) -> int:
        """Lines that the thread has not begun to write."""
        return self._lines.qsize()

    def write(self, line: str) -> None:
        """Have a line written, if there is room for it."""
        if self._lines.qsize() >= self._max_lines:
            self._dropped += 1
            return
        self._lines.put(line)
        self._begin()

    def flush(self, timeout_s: float) -> None:
        """Wait until all lines are written, or until the time is over because they cannot be."""
        if self._pid == os.getpid():
            written = threading.Event()
            self._lines.put(written)
            written.wait(timeout_s)

    def close(self) -> None:
        """End the thread once all lines are written."""
        if self._pid == os.getpid():
            self._lines.put(None)
            self._pid = None

    def _begin(self) -> None:
        """Start the thread, once in each process: a fork has none."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            # A daemon, so that the process can end while a write blocks.
            threading.Thread(target=self._work, name="log", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                line = self._lines.get(timeout=_TICK_S)
            except queue.Empty:
                self._on_tick()
                continue
            match line:
                case str():
                    self._write(line)
                case None:
                    return
                case _:
                    line.set()

    def _write(self, line: str) -> None:
        dropped, self._dropped = self._dropped, 0
        try:
            if dropped:
                _put(self._stream(), self._told_dropped(dropped))
            _put(self._stream(), line)
        except (OSError, ValueError):  # the reader of the pipe has left, the disk is full, the stream is closed
            self._dropped += dropped + 1


def _put(stream: TextIO, line: str) -> None:
    if stream is not sys.__stderr__:
        stream.write(f"{line}\n")
        stream.flush()
        return
    # Past the stream's own buffer: a thread that holds its lock would keep the interpreter from ending.
    left = f"{line}\n".encode(errors="backslashreplace")
    while left:
        try:
            left = left[os.write(stream.fileno(), left) :]
        except BlockingIOError:
            threading.Event().wait(_RETRY_S)
