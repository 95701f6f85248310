"""The store of jobs: starts them, joins requests with the same idempotency key, keeps finished jobs for a limited time."""

import asyncio
import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from ..clock import steady_time
from ..dispatch.job import JobState
from ..errors import Cancelled, ExpiredJob, IdempotencyConflict, QueueFull, UnknownJob
from ..generator import Generated, ImageGenerator
from ..models.spec import ModelName
from ..requests.early_end import Ending
from ..requests.parameters import GenerationParameters
from ..requests.progress import Preview, Progress
from ..requests.rendering import ImageWriter
from ..uncancellable import consume_exception
from .previews import Previews
from .tracked_job import TrackedJob

_REMEMBERED = 10_000
"""Ids of expired jobs that are kept, so that they are not reported as unknown."""
_SOONEST_S = 0.01
"""Shortest time until the next expiry, in seconds, because the clocks of jobs and of timers may differ a little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPolicy:
    """Limits of unfinished and of finished jobs."""

    max_unfinished: int | None = None
    """Unfinished jobs before the next one is refused; None for no limit. The dispatcher does not count a job before its model was
    looked up, so its own limit is not enough."""
    keep_s: float = 600.0
    """Seconds for which a finished job is kept."""
    max_finished: int = 100
    """Finished jobs that are kept."""
    max_result_nbytes: int = 512 * 1024**2
    """Bytes of the images of all finished jobs that are kept."""


Join = Literal["always", "in_flight", "never"]
"""Jobs of the same key that a request joins: all that are kept; those whose outcome has reached no client; none.

Only `always` has a job kept after its outcome has reached the client that waits for it."""


@dataclass(frozen=True, slots=True)
class _Key:
    job: TrackedJob
    body: bytes
    """Digest of the model and the parameters."""


def _digest(model: ModelName, parameters: GenerationParameters) -> bytes:
    """Compute a digest of a request, so that pictures of megabytes are not kept."""
    return hashlib.sha256(msgspec.json.encode((model, parameters))).digest()  # msgpack fails on integers beyond 64 bits


class JobStore:
    """All jobs that clients can look up. Event loop only."""

    def __init__(
        self,
        generator: ImageGenerator,
        writer: ImageWriter,
        policy: JobPolicy | None = None,
        *,
        now: Callable[[], float] = steady_time,
        on_ended: Callable[[TrackedJob], None] = lambda _job: None,
    ) -> None:
        """Make a store without jobs.

        Args:
            generator: makes the images.
            writer: encodes previews.
            policy: limits of unfinished and of finished jobs.
            now: clock, in seconds since the epoch, which does not jump.
            on_ended: receives every job that has ended; must return at once.
        """
        self._generator = generator
        self._writer = writer
        self._policy = policy or JobPolicy()
        self._now = now
        self._on_ended = on_ended
        self._expiry: asyncio.TimerHandle | None = None
        self._jobs: OrderedDict[str, TrackedJob] = OrderedDict()
        self._keys: dict[tuple[str, str], _Key] = {}
        self._expired: OrderedDict[str, str] = OrderedDict()
        """Clients of expired jobs, by the ids of the jobs."""

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

        Raises:
            UnknownModel, UnusableModel, InvalidRequest: no job was started.
            QueueFull, TooManyRequests, ShuttingDown, EngineStuck: no job was started.
            IdempotencyConflict: the key was sent before with another model or body.
        """
        self._expire()
        # An alias and the name that it stands for are the same request.
        body = b"" if key is None else _digest(await self._generator.model_of(model), parameters)
        kept = join == "always"
        if (known := self._known(client, key, body, join)) is not None:
            return _joined(known, detached=detached, kept=kept)
        name = await self._generator.check(model, parameters)
        # Looked up again, because another request with the same key may have started a job during the check.
        if (known := self._known(client, key, body, join)) is not None:
            return _joined(known, detached=detached, kept=kept)
        self._refuse_if_full(client)
        admit()
        job = TrackedJob(
            id=uuid.uuid4().hex, model=name, client=client, created=self._now(), detached=detached, kept=kept
        )
        self._jobs[job.id] = job
        if key is not None:
            self._keys[client, key] = _Key(job, body)
        self._begin(job, parameters)
        return job

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
        # `post` returns and `result` counts the waiter without a suspension between them: otherwise the last waiter of a joined
        # job could be cancelled in between, and end the job that was joined.
        job = await self.post(model, parameters, client=client, key=key, join=join, detached=False, admit=admit)
        return await self.result(job, linger_s)

    def get(self, job_id: str, owner: str | None = None) -> TrackedJob:
        """Return the job with this id.

        Args:
            job_id: of the job.
            owner: the only client whose jobs are found; None for those of all.

        Raises:
            ExpiredJob: it is no longer kept.
            UnknownJob: no job had this id, or it belongs to another client.
        """
        self._expire()
        job = self._jobs.get(job_id)
        client = job.client if job is not None else self._expired.get(job_id)
        if client is None or owner not in (None, client):
            raise UnknownJob(job_id)
        if job is None:
            raise ExpiredJob(job_id)
        return job

    def all(self, state: JobState | None = None, owner: str | None = None) -> list[TrackedJob]:
        """Return all jobs, or those in one state or of one client, the newest first."""
        self._expire()
        return [
            job for job in reversed(self._jobs.values()) if state in (None, job.state) and owner in (None, job.client)
        ]

    async def cancel(self, job_id: str, owner: str | None = None) -> TrackedJob:
        """End a job before its next step, and wait for its end; remove one that has ended.

        Raises:
            ExpiredJob, UnknownJob: as `get` does.
        """
        job = self.get(job_id, owner)
        if job.over:
            self._forget(job)
            return job
        self.stop(job)
        await asyncio.wait([job.work])
        return job

    def end_early(self, job: TrackedJob, ending: Ending) -> None:
        """Have a running job end with what is denoised so far; one that does not run yet has nothing, and is stopped."""
        if job.state == "running":
            job.early_end.ask(ending)
        elif not job.over:
            self.stop(job)

    def stop(self, job: TrackedJob) -> None:
        """End a job before its next step, without waiting for that."""
        # A request that sends its key from now on starts a new job, instead of joining one that is being cancelled.
        self._drop_key(job)
        job.work.cancel()

    async def result(self, job: TrackedJob, linger_s: float = 0) -> Generated:
        """Wait for a job. If its last waiter is cancelled, a job that is not detached ends before its next step.

        Args:
            job: to wait for.
            linger_s: seconds that it continues for a client that comes back.

        Raises:
            DiffusionError: as the job did.
        """
        return await self.waiting(job, linger_s)

    def waiting(self, job: TrackedJob, linger_s: float = 0) -> "asyncio.Task[Generated]":
        """Begin to wait as `result` does: the waiter counts from now on, and not from the next turn of the event loop."""
        job.waiters += 1
        waiting = asyncio.ensure_future(_outcome(job))
        waiting.add_done_callback(consume_exception)
        waiting.add_done_callback(lambda _: self._left(job, linger_s, delivered=not waiting.cancelled()))
        return waiting

    def _left(self, job: TrackedJob, linger_s: float, *, delivered: bool) -> None:
        """Note that a waiter has gone, with the outcome or without."""
        job.waiters -= 1
        if delivered and not job.kept:
            self._forget_if_known(job)
        elif linger_s and not job.over:
            asyncio.get_running_loop().call_later(linger_s, self._stop_unless_wanted, job)
        else:
            self._stop_unless_wanted(job)

    def _stop_unless_wanted(self, job: TrackedJob) -> None:
        if not job.waiters and not job.detached and not job.over:
            self.stop(job)

    def _refuse_if_full(self, client: str) -> None:
        self._generator.refuse_if_full(client)
        unfinished = sum(not job.over for job in self._jobs.values())
        if self._policy.max_unfinished is not None and unfinished >= self._policy.max_unfinished:
            raise QueueFull(
                unfinished,
                retry_after_s=unfinished,
                state="unfinished",
                setting="limits.max_waiting + dispatch.max_rows",
            )

    def _begin(self, job: TrackedJob, parameters: GenerationParameters) -> None:
        loop, previews = asyncio.get_running_loop(), Previews(job, self._writer)

        def note(progress: Progress) -> None:
            if isinstance(progress, Preview):
                previews.show(progress)
            else:
                job.note(progress, self._now())

        def tell(progress: Progress) -> None:
            loop.call_soon_threadsafe(note, progress)

        job.work = asyncio.create_task(
            self._generator.generate(
                job.model,
                parameters,
                job_id=job.id,
                client=job.client,
                on_progress=tell,
                previews=parameters.previews,
                early_end=job.early_end,
            ),
            name=f"tracked job {job.id}",
        )
        job.work.add_done_callback(consume_exception)
        job.work.add_done_callback(lambda work: self._ended(job, work))

    def _ended(self, job: TrackedJob, work: "asyncio.Task[Generated]") -> None:
        job.end(work, self._now())
        if job.result is None:
            self._drop_key(job)  # a request that is sent again starts a new job, instead of getting the old error
            if not job.kept and not job.waiters:
                self._forget_if_known(job)
        self._on_ended(job)
        self._expire()

    def _known(self, client: str, key: str | None, body: bytes, join: Join) -> TrackedJob | None:
        known = self._keys.get((client, key)) if key is not None else None
        if known is None or join == "never":
            return None
        if known.body != body:
            assert key is not None
            raise IdempotencyConflict(key)
        return known.job

    def _expire(self) -> None:
        policy, now = self._policy, self._now()
        finished = sorted((job for job in self._jobs.values() if job.over), key=lambda job: job.ended or now)
        excess = sum(job.nbytes for job in finished) - policy.max_result_nbytes
        for index, job in enumerate(finished):
            too_many = len(finished) - index > policy.max_finished
            if too_many or excess > 0 or now - (job.ended or now) >= policy.keep_s:
                excess -= job.nbytes
                self._forget(job)
        self._expire_later()

    def _expire_later(self) -> None:
        """Set a timer for the next expiry, so that images are freed even if no request comes."""
        ends = [job.ended for job in self._jobs.values() if job.ended is not None]
        if ends and self._expiry is None:
            wait_s = min(ends) + self._policy.keep_s - self._now()
            self._expiry = asyncio.get_running_loop().call_later(max(wait_s, _SOONEST_S), self._on_expiry)

    def _on_expiry(self) -> None:
        self._expiry = None
        self._expire()

    def _forget_if_known(self, job: TrackedJob) -> None:
        if job.id in self._jobs:
            self._forget(job)

    def _forget(self, job: TrackedJob) -> None:
        del self._jobs[job.id]
        self._drop_key(job)
        self._expired[job.id] = job.client
        while len(self._expired) > _REMEMBERED:
            self._expired.popitem(last=False)

    def _drop_key(self, job: TrackedJob) -> None:
        self._keys = {key: known for key, known in self._keys.items() if known.job is not job}


def _joined(job: TrackedJob, *, detached: bool, kept: bool) -> TrackedJob:
    """Return a job that another request joins."""
    job.detached |= detached
    job.kept |= kept
    return job


async def _outcome(job: TrackedJob) -> Generated:
    try:
        return await asyncio.shield(job.work)
    except asyncio.CancelledError:
        if job.work.cancelled():
            raise Cancelled("The job was cancelled.") from None
        raise
