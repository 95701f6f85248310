"""The log for people at a terminal: one short line an event, the request line in columns.

JSON holds every fact of an event; a line here holds those that a person looks for first.
"""

from datetime import datetime

from structlog.typing import EventDict, WrappedLogger

from .console_phrases import Facts, phrase
from .repeated_events import REPEATED

_RESET, _DIM, _RED, _GREEN, _YELLOW = "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"
_LEVEL_COLOURS = {"debug": _DIM, "warning": _YELLOW, "error": _RED, "critical": _RED}
_SAID_BY_THE_LINE = ("level", "logger", "timestamp", "exception", "stack", "request_id")
_TARGET_CHARS = 28
"""Width of the column of method and path; longer ones push the rest to the right."""


class ConsoleRenderer:
    """The last processor of a chain; `timestamp` and `exception` are texts by then."""

    def __init__(self, *, colours: bool) -> None:
        """Make a renderer; `colours` for a terminal only."""
        self._colours = colours

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """Render one event; a stack follows on lines of its own."""
        facts = {str(name): value for name, value in event.items()}
        times = facts.pop(REPEATED, None)
        line = self._request(facts) if facts.get("event") == "request" else self._other(facts)
        if times is not None:
            line = f"{line} ({REPEATED} {times} times)"
        stacks = [_printable_lines(str(facts[name])) for name in ("stack", "exception") if facts.get(name)]
        return "\n".join((f"{self._in(_DIM, _time_of_day(facts))}  {line}", *stacks))

    def _request(self, facts: Facts) -> str:
        """Render status, method and path, seconds, and what was made, in columns."""
        status = facts.get("status")
        target = f"{printable(facts.get('method', '?'))} {printable(facts.get('path', '?'))}"
        seconds = f"{float(facts.get('ms', 0)) / 1000:6.2f} s"
        line = f"{self._status(status)}  {target:<{_TARGET_CHARS}} {seconds}  {printable(phrase(facts))}"
        return line.rstrip()

    def _other(self, facts: Facts) -> str:
        """Render a sentence about the event, or its name and its facts if no sentence is known."""
        level = str(facts.get("level", "info"))
        told = {name: value for name, value in facts.items() if name not in _SAID_BY_THE_LINE}
        text = printable(phrase(told))
        if level not in _LEVEL_COLOURS:
            return text
        return f"{self._in(_LEVEL_COLOURS[level], level)}  {text}"

    def _status(self, status: object) -> str:
        if not isinstance(status, int):
            return self._in(_RED, "---")  # the client left before an answer
        return self._in(_GREEN if status < 400 else _YELLOW if status < 500 else _RED, str(int(status)))

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours else text


def printable(text: object) -> str:
    """Escape control characters: a client's path must not move the cursor or rename the terminal's window."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text))


def _printable_lines(stack: str) -> str:
    """Escape control characters in a stack, whose messages may quote a client."""
    return "\n".join(printable(line) for line in stack.rstrip().split("\n"))


def _time_of_day(facts: Facts) -> str:
    """Return the local time of an event to the second."""
    stated = facts.get("timestamp")
    moment = datetime.fromisoformat(str(stated)) if stated else datetime.now().astimezone()
    return moment.astimezone().strftime("%H:%M:%S")
