"""What the dialect remembers of each client: the options that it has set, and its requests that are not done. Event loop only.

The web UI has one user, whose settings are the process's. Here each API key or address has its own.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ...domain.jobs.tracked_job import TrackedJob
from .options import Options

_MAX_CLIENTS = 1000
"""Clients that are remembered; after that, the one that was silent for longest is forgotten. About 1 KB each."""


@dataclass(slots=True, eq=False)
class Session:
    """One client."""

    options: Options = field(default_factory=Options)
    jobs: list[TrackedJob] = field(default_factory=list[TrackedJob])
    """Unfinished requests, the newest last."""

    @contextmanager
    def following(self, job: TrackedJob) -> Iterator[None]:
        """List a job for as long as its request waits for it."""
        self.jobs.append(job)
        try:
            yield
        finally:
            self.jobs.remove(job)

    @property
    def shown(self) -> TrackedJob | None:
        """The job whose progress is shown: the newest that runs, otherwise the newest."""
        running = [job for job in self.jobs if job.state == "running"]
        return (running or self.jobs or [None])[-1]


class Sessions:
    """The clients that were seen last."""

    def __init__(self, max_clients: int = _MAX_CLIENTS) -> None:
        self._max_clients = max_clients
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def of(self, client: str) -> Session:
        """Return the session of a client, a new one if it is not remembered."""
        session = self._sessions.setdefault(client, Session())
        self._sessions.move_to_end(client)
        if len(self._sessions) > self._max_clients:
            self._sessions.popitem(last=False)
        return session
