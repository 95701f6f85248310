"""The store of jobs: starts them, joins requests with the same idempotency key, finds finished ones in the repository."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable

from ..clock import steady_time
from ..errors import Cancelled, KeyTaken
from ..generator import Generated, ImageGenerator
from ..models.spec import ModelName
from ..requests.parameters import GenerationParameters
from ..requests.rendering import ImageWriter
from ..requests.request_digest import request_digest
from ..uncancellable import consume_exception
from .capacity import Capacity
from .event_log import JobEvent
from .following import Following
from .idempotency_keys import IdempotencyKeys, Join
from .in_flight import InFlight
from .job_runner import JobRunner
from .keeping.expiry import Expiry
from .keeping.journal import Journal
from .keeping.lookup import Lookup
from .keeping.memory_repository import MemoryJobRepository
from .keeping.repository import JobRepository
from .policy import JobPolicy
from .record import JobQuery
from .rendering import Rendering
from .tracked_job import TrackedJob
from .waiting import Waiting, wait_until_kept


class JobStore:
    """All jobs that clients can look up: those that this process runs, and those that the repository keeps. Event loop only."""

    def __init__(
        self,
        generator: ImageGenerator,
        writer: ImageWriter,
        policy: JobPolicy | None = None,
        repository: JobRepository | None = None,
        *,
        now: Callable[[], float] = steady_time,
        on_ended: Callable[[TrackedJob], None] = lambda _job: None,
    ) -> None:
        """Make a store without jobs.

        Args:
            generator: makes the images.
            writer: encodes previews.
            policy: limits of unfinished and of finished jobs.
            repository: keeps the jobs; in memory if absent.
            now: clock, in seconds since the epoch, which does not jump.
            on_ended: receives every job that has ended; must return at once.
        """
        policy, repository = policy or JobPolicy(), repository or MemoryJobRepository()
        self.repository: JobRepository = repository
        """Where jobs are kept."""
        self._generator = generator
        self._now = now
        self._in_flight = in_flight = InFlight()
        self.capacity = Capacity(generator, in_flight, policy.max_unfinished)
        """How many more jobs there may be."""
        self._expiry = expiry = Expiry(repository, in_flight, policy.retention, now)
        self._journal = journal = Journal(repository)
        rendering = Rendering(generator, writer, journal, durable=repository.durable, now=now)
        self.runner = JobRunner(rendering, repository, in_flight, expiry, now=now, on_ended=on_ended)
        """Runs the jobs of this process."""
        self._following = following = Following(repository, in_flight)
        self._lookup = lookup = Lookup(repository, in_flight, expiry)
        self._waiting = Waiting(in_flight)
        self._keys = IdempotencyKeys(repository, in_flight, lookup, following, now)
        self._writing: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> list[TrackedJob]:
        """Jobs that this process runs, and those whose outcome waits for its client."""
        return list(self._in_flight)

    async def open(self) -> None:
        """Open the repository.

        Raises:
            StorageUnavailable: it cannot be opened.
        """
        await self.repository.open()
        await self._expiry.expire(at_once=True)
        self._writing = asyncio.create_task(self._journal.run())
        self._writing.add_done_callback(consume_exception)

    async def close(self) -> None:
        """Give unfinished jobs back to the repository, and close it. The generator has refused or stopped them before."""
        await self.runner.close()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])
        await self._expiry.close()
        await self.repository.close()

    async def post(
        self,
        model: str,
        parameters: GenerationParameters,
        *,
        client: str = "",
        key: str | None = None,
        join: Join = "always",
        detached: bool = True,
        admit: Callable[[], None] = lambda: None,
        callback_url: str | None = None,
    ) -> TrackedJob:
        """Start a job, or join the one that was started with the same key.

        Args:
            model: name of a catalogue entry, or an alias; the job has the entry's own name.
            parameters: what to make.
            client: name of the sender; each client has its own keys.
            key: idempotency key; the same key and body join the same job, unless that has failed or was cancelled.
            join: which jobs of the same key are joined.
            detached: whether it continues without a waiting client.
            admit: called before a job is started, not before one is joined; it may refuse by an error.
            callback_url: is told of its end.

        Raises:
            UnknownModel, UnusableModel, InvalidRequest: no job was started.
            QueueFull, TooManyRequests, ShuttingDown, EngineStuck, StorageUnavailable: no job was started.
            IdempotencyConflict: the key was sent before with another model or body.
        """
        await self._expiry.expire()
        # An alias and the name that it stands for are the same request.
        body = b"" if key is None else await request_digest(parameters, await self._generator.model_of(model))
        kept, joined = join == "always", None if join == "never" else key
        if (known := await self._keys.find(client, joined, body)) is not None:
            return await self._keys.join(known, parameters, detached=detached, kept=kept)
        name = await self._generator.check(model, parameters)
        # Looked up again, because another request with the same key may have started a job during the check.
        if (known := await self._keys.find(client, joined, body)) is not None:
            return await self._keys.join(known, parameters, detached=detached, kept=kept)
        self.capacity.refuse_if_full(client)
        admit()
        job = self._new(name, parameters, client, key, body)
        job.detached, job.kept, job.callback_url = detached, kept, callback_url
        self.runner.begin(job, parameters)
        try:
            await wait_until_kept(job)
        except KeyTaken:  # by another process that shares the repository
            if (known := await self._keys.find(client, joined, body)) is None:
                raise
            return await self._keys.join(known, parameters, detached=detached, kept=kept)
        return job

    def _new(
        self, model: ModelName, parameters: GenerationParameters, client: str, key: str | None, body: bytes
    ) -> TrackedJob:
        return TrackedJob(
            id=uuid.uuid4().hex,
            model=model,
            client=client,
            key=key,
            body=body,
            created=round(self._now(), 6),  # as precise as it is shown, and filtered by
            prompt=parameters.prompt,
        )

    async def run(
        self,
        model: str,
        parameters: GenerationParameters,
        *,
        client: str = "",
        key: str | None = None,
        join: Join = "always",
        linger_s: float = 0,
        admit: Callable[[], None] = lambda: None,
    ) -> Generated:
        """Start a job, or join the one of the same key, and wait for it; it ends if its last waiter is cancelled.

        Raises:
            DiffusionError: as `post` and the job do.
        """

        async def attempt() -> Generated:
            # `post` returns and `result` counts the waiter without a suspension between them: otherwise the last waiter of a
            # joined job could be cancelled in between, and end the job that was joined.
            job = await self.post(model, parameters, client=client, key=key, join=join, detached=False, admit=admit)
            return await self.result(job, linger_s)

        try:
            return await attempt()
        except Cancelled as error:
            if not error.abandoned:
                raise
        # It was joined in another process, which knew of its own waiters alone; they have left.
        return await attempt()

    async def get(self, job_id: str, owner: str | None = None, *, with_result: bool = False) -> TrackedJob:
        """Return the job with this id.

        Args:
            job_id: of the job.
            owner: the only client whose jobs are found; None for those of all.
            with_result: whether to read its images.

        Raises:
            ExpiredJob: it is no longer kept.
            UnknownJob: no job had this id, or it belongs to another client.
        """
        return await self._lookup.get(job_id, owner, with_result=with_result)

    async def page(self, query: JobQuery) -> list[TrackedJob]:
        """List jobs, the newest first: those that are kept, and those in flight that will not be."""
        return await self._lookup.page(query)

    def follow(
        self, job: TrackedJob, after_id: int = 0, *, idle_s: float | None = None
    ) -> AsyncGenerator[JobEvent | None]:
        """Yield the events of a job as `EventLog.follow` does, also if it runs in another process."""
        return self._following.follow(job, after_id, idle_s)

    async def cancel(self, job_id: str, owner: str | None = None) -> TrackedJob:
        """End a job before its next step, and wait for its end; remove one that has ended.

        Raises:
            ExpiredJob, UnknownJob: as `get` does.
        """
        job = await self.get(job_id, owner)
        if job.over:
            await self.repository.forget(job_id)
            self._in_flight.drop(job_id)
        elif self._in_flight.get(job_id) is not None:
            job.stop()
            await asyncio.wait([job.work])
        else:
            await self.repository.request_cancel(job_id)
            await self._following.watch(job)
        return job

    async def result(self, job: TrackedJob, linger_s: float = 0) -> Generated:
        """Wait for a job. If its last waiter is cancelled, a job that is not detached ends before its next step.

        Args:
            job: to wait for.
            linger_s: seconds that it continues for a client that comes back.

        Raises:
            DiffusionError: as the job did.
        """
        return await self._waiting.begin(job, linger_s)

    def waiting(self, job: TrackedJob) -> "asyncio.Task[Generated]":
        """Begin to wait as `result` does: the waiter counts from now on, and not from the next turn of the event loop."""
        return self._waiting.begin(job)
