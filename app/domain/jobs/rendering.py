"""Renders jobs: has their images made, and notes their progress."""

import asyncio
from collections.abc import Callable
from functools import partial

from ..errors import DeviceLost, DiffusionError, EngineFailed, EngineStuck, QueueFull, ShuttingDown, TooManyRequests
from ..generator import Generated, ImageGenerator
from ..requests.parameters import GenerationParameters
from ..requests.progress import Preview, Progress
from ..requests.rendering import ImageWriter
from .keeping.journal import Journal
from .previews import Previews
from .tracked_job import Outcome, TrackedJob, outcome_of

_TRY_AGAIN_S = 1.0
"""Seconds between two attempts to begin a job that was accepted before a restart."""


class Rendering:
    """Runs the generator for jobs. Event loop only."""

    def __init__(
        self,
        generator: ImageGenerator,
        writer: ImageWriter,
        journal: Journal,
        *,
        durable: bool,
        now: Callable[[], float],
    ) -> None:
        """Render nothing yet.

        Args:
            generator: makes the images.
            writer: encodes previews.
            journal: receives the changes of state of kept jobs, and the progress of those that outlive the process.
            durable: whether kept jobs do.
            now: clock, in seconds since the epoch.
        """
        self._generator = generator
        self._writer = writer
        self._journal = journal
        self._durable = durable
        self._now = now

    async def run(self, job: TrackedJob, parameters: GenerationParameters) -> Outcome:
        """Return the images of a job, or the error that ended it. One that was promised waits for a place in the queue."""
        while True:
            job.rendering = asyncio.create_task(self._render(job, parameters), name=f"render {job.id}")
            if job.stopping:
                job.rendering.cancel()
            await asyncio.wait([job.rendering])
            outcome = outcome_of(job.rendering)
            job.rendering = None  # its frames hold the pictures of the request
            if (
                isinstance(outcome, (EngineStuck, DeviceLost))
                and job.detached
                and not job.stopping
                and self._may_move(job)
            ):
                continue
            # The queue may be full of other jobs that were accepted before the restart.
            promised = job.moved or (job.kept and self._durable)
            if not isinstance(outcome, (QueueFull, TooManyRequests)) or not promised:
                return outcome
            await asyncio.sleep(_TRY_AGAIN_S)

    def _may_move(self, job: TrackedJob) -> bool:
        """Tell whether a job whose device does not answer is begun again, on another device: once, if there is one."""
        if job.moved:
            return False
        try:
            self._generator.refuse_if_full("")
        except (EngineStuck, EngineFailed, ShuttingDown):
            return False
        except DiffusionError:
            pass  # it waits for a place
        job.moved = True
        job.restarts += 1
        job.log.add("restarted", restarts=job.restarts)
        return True

    async def _render(self, job: TrackedJob, parameters: GenerationParameters) -> Generated:
        loop, previews = asyncio.get_running_loop(), Previews(job, self._writer)

        def note(progress: Progress) -> None:
            if isinstance(progress, Preview):
                previews.show(progress)
            else:
                self._note(job, progress)

        def tell(progress: Progress) -> None:
            loop.call_soon_threadsafe(note, progress)

        return await self._generator.generate(
            job.model,
            parameters,
            job_id=job.id,
            client=job.client,
            on_progress=tell,
            previews=parameters.previews,
            early_end=job.early_end,
            before_load=partial(self._journal.note_load, job) if job.kept and self._durable else None,
        )

    def _note(self, job: TrackedJob, progress: Progress) -> None:
        before = job.state
        job.note(progress, self._now())
        changed = job.state != before
        if job.kept and (
            changed or self._durable
        ):  # jobs in memory are listed by their state; no more of them is read there
            self._journal.note(job, at_once=changed)
