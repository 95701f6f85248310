"""The dispatcher of a machine: one line before all devices, each of which has a dispatcher of its own.

A job is accepted, its files are fetched, and it is resolved once for all devices. Then it stands in the line until `decide` gives
it to a device. If that device does not answer, jobs that it has not begun go back into the line. A machine with one device
has no line: its device's dispatcher does everything.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ..dispatch.accepted_job import JobResult
from ..dispatch.dispatcher import Dispatcher, Resolve
from ..dispatch.fair_queue import AgingPolicy
from ..dispatch.job import Job, going_down, gone_away
from ..dispatch.lanes import Lane
from ..dispatch.policy import DispatchPolicy
from ..dispatch.queue_limits import refuse_if_full
from ..dispatch.stage import Stage
from ..errors import DeviceLost, EngineFailed, EngineStuck, InsufficientMemory, WaitedTooLong
from ..models.spec import ModelName, ModelSpec
from ..requests.render_request import RenderRequest
from .bring_times import BringTimes
from .devices import Devices
from .line import Line, RoutedJob
from .policy import DeviceLoad, Placed, Waiting, decide
from .serving_device import ServingDevice

_USUAL_JOB_S = 5.0
"""Assumed seconds of a job whose model has not made an image yet."""
_LOOK_AGAIN_S = 1.0
"""Seconds between two looks at jobs that wait: the estimates of what is before them change."""


class MachineDispatcher:
    """Runs jobs on the devices of a machine. Limits and fair shares hold for all devices together. Event loop only."""

    def __init__(
        self,
        devices: Devices,
        policy: DispatchPolicy | None = None,
        bring_times: BringTimes | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a dispatcher with an empty line.

        Args:
            devices: of the machine.
            policy: limits of the line.
            bring_times: estimates how long a model takes to a device.
            clock: seconds, monotonic.
        """
        self._devices = devices
        self._policy = policy = policy or DispatchPolicy()
        self._bring_times = bring_times or BringTimes()
        self._clock = clock
        self._jobs: list[RoutedJob] = []
        aging = policy.aging
        self._line = Line(
            lambda: AgingPolicy(max_overtaken=aging.max_overtaken * len(devices), max_wait_s=aging.max_wait_s),
            clock,
            self._expected_left_s,
        )
        self._next_look: asyncio.TimerHandle | None = None
        self._bring_s_now: dict[tuple[str, ModelName], float] = {}
        """Estimates of the present update."""
        self._closing = False

    @property
    def devices(self) -> Devices:
        """The devices of the machine."""
        return self._devices

    @property
    def depth(self) -> int:
        """Number of jobs that wait or run, including those whose files are being fetched."""
        ungiven = sum(routed.device is None for routed in self._jobs)
        return ungiven + sum(device.dispatcher.depth for device in self._devices)

    @property
    def unresponsive_because(self) -> str | None:
        """Reason for which no device makes images although one has started; None while one does."""
        failure = self._devices.failure
        return failure.message if isinstance(failure, (EngineStuck, DeviceLost)) else None

    def waiting_by_model(self) -> Counter[ModelName]:
        """Count the jobs that wait for each model and hold no memory yet."""
        waiting = Counter(routed.job.model for routed in self._jobs if routed.device is None)
        for device in self._devices:
            waiting += device.dispatcher.waiting_by_model()
        return waiting

    def position(self, job_id: str) -> int | None:
        """Return the number of jobs before a waiting one; None if it runs, has ended, or is not in the line yet."""
        if (alone := self._alone) is not None:
            return alone.position(job_id)
        waiting = [routed.job.id for routed in (*self._pending(), *self._line.waiting())]
        return waiting.index(job_id) if job_id in waiting else None

    def wait_s(self) -> float:
        """Estimate the seconds that a job would wait if it came now."""
        if (alone := self._alone) is not None:
            return alone.wait_s()
        left_s = sum(self._seconds_left(routed) for routed in self._jobs)
        return left_s / max(1, len(self._devices.answering))

    def device_for(self, model: ModelName) -> ServingDevice:
        """Return the device on which a request for a model would begin first. Call after the engines have started.

        Raises:
            EngineFailed, EngineStuck: no device serves.
        """
        if (failure := self._devices.failure) is not None:
            raise failure.with_traceback(None)
        self._bring_s_now.clear()
        return min(self._devices.answering, key=lambda device: self._busy_s(device) + self._bring_s(device, model))

    async def run(self, job: Job, resolve: Resolve) -> JobResult:
        """Run a job and wait for it, as `Dispatcher.run` does."""
        if (alone := self._alone) is not None:
            return await alone.run(job, resolve)
        self.refuse_if_full(job.client)
        routed = RoutedJob(job=job)
        self._jobs.append(routed)
        routed.work = work = asyncio.create_task(self._serve(routed, resolve), name=f"job {job.id}")
        work.add_done_callback(lambda _: self._ended(routed))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.done() and not _is_cancelled():
                raise routed.job.reason from None
            routed.stop(gone_away())
            # The lease must be returned before the client is answered.
            await asyncio.wait([work])
            raise

    def close(self) -> None:
        """Refuse new jobs from now on, and end those that still wait."""
        self._closing = True
        for device in self._devices:
            device.dispatcher.close()
        for routed in self._without_device():
            routed.stop(going_down())

    async def drain(self, grace_s: float) -> None:
        """Wait for jobs that have begun; stop those that are not done after `grace_s` seconds. Call `close` first."""
        await asyncio.gather(*(device.dispatcher.drain(grace_s) for device in self._devices))
        if working := [routed.work for routed in self._jobs if routed.work is not None]:
            await asyncio.wait(working)

    def stop_running(self) -> None:
        """Stop all jobs before their next step. Call `close` first."""
        for device in self._devices:
            device.dispatcher.stop_running()

    def check_devices(self) -> None:
        """Take devices out that have finished no step for too long, and give their waiting jobs to others.

        Call it periodically.
        """
        for device in self._devices:
            device.dispatcher.check_device()
        if (failure := self._devices.failure) is not None:
            for routed in self._without_device():
                routed.stop(failure)
        self._update()

    def refuse_if_full(self, client: str) -> None:
        """Raise the error with which `run` would refuse a job of a client now; see `Dispatcher.refuse_if_full`."""
        if (alone := self._alone) is not None:
            return alone.refuse_if_full(client)
        if self._closing:
            raise going_down()
        if (failure := self._devices.failure) is not None:
            raise failure.with_traceback(None)
        waiting = [routed.job.client for routed in self._jobs if not routed.begun]
        refuse_if_full(
            self._policy,
            client,
            waiting,
            begun=len(self._jobs) - len(waiting),
            devices=len(self._devices.answering),
            retry_after_s=self._retry_after_s,
        )
        return None

    @property
    def _alone(self) -> Dispatcher | None:
        """The dispatcher of the only device; None if there are several, or if their number is not known yet."""
        alone = len(self._devices) == 1 and not self._devices.may_grow
        return self._devices.first.dispatcher if alone else None

    async def _serve(self, routed: RoutedJob, resolve: Resolve) -> JobResult:
        """Wait for the engines, fetch, resolve, stand in the line, run on a device."""
        job, arrived = routed.job, self._clock()
        await self._devices.start()
        begun = self._clock()
        if (alone := self._alone) is not None:
            self._jobs.remove(routed)  # its dispatcher counts it from here
            result = await alone.run_admitted(job, resolve)
            return replace(result, start_s=begun - arrived)
        routed.spec = spec = await self._devices.an_answering_one.pool.fetch(job.model, job.on_load)
        routed.stages = await resolve(spec)
        fetched_s, job.state = self._clock() - begun, "queued"
        self._charge()
        self._line.enter(routed)
        try:
            with self._begins_in_time(routed):
                result = await self._on_a_device(routed)
        finally:
            self._line.leave(routed)
        return replace(
            result,
            start_s=begun - arrived,
            queue_s=result.queue_s + routed.line_s,
            load_s=result.load_s + fetched_s,
        )

    async def _on_a_device(self, routed: RoutedJob) -> JobResult:
        """Wait for a device, and run there; if it fails before it has begun the job, wait again."""
        while True:
            waiting_since_s = self._clock()
            self._update()
            await routed.given.wait()
            routed.line_s += self._clock() - waiting_since_s
            device = routed.device
            assert device is not None
            if device.failure is not None:
                self._line.take_back(routed)
                continue
            attempt = device.dispatcher.run_admitted(routed.job, _returning(routed.stages), resolved_with=routed.spec)
            routed.attempt = asyncio.create_task(attempt)
            try:
                return await routed.attempt
            except asyncio.CancelledError:
                # Either this job is stopped, or another device has taken it.
                if _is_cancelled():
                    raise
            except (EngineStuck, EngineFailed):
                if routed.begun or self._devices.failure is not None:
                    raise
                self._line.take_back(routed)
            except InsufficientMemory as misfit:
                routed.unfit[device.name] = misfit.with_traceback(None)
                if routed.begun or routed.misfit(self._devices.answering):
                    raise
                self._line.take_back(routed)
            routed.begin_anew()

    @contextmanager
    def _begins_in_time(self, routed: RoutedJob) -> Generator[None]:
        limit_s = self._policy.max_wait_s
        if limit_s is None:
            yield
            return

        def expire() -> None:
            if not routed.begun:
                routed.stop(WaitedTooLong(limit_s, retry_after_s=self._retry_after_s()))

        timer = asyncio.get_running_loop().call_later(limit_s, expire)
        try:
            yield
        finally:
            timer.cancel()

    def _ended(self, routed: RoutedJob) -> None:
        if routed in self._jobs:
            self._jobs.remove(routed)
        # They keep the frames that they were cancelled in, and these the job's pictures.
        routed.work = routed.attempt = None
        self._update()

    def _update(self) -> None:
        """Give jobs to devices; called after each change of the line, of what a device has, or of the devices that answer."""
        self._bring_s_now.clear()
        self._charge()
        self._stop_misfits()
        while placed := self._decided():
            for each in placed:
                self._place(each)
        pending, waiting = len(self._pending()), self._line.waiting()
        for position, routed in enumerate(waiting):
            routed.report_position(pending + position)
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if waiting:
            self._next_look = asyncio.get_running_loop().call_later(_LOOK_AGAIN_S, self._update)

    def _stop_misfits(self) -> None:
        """End the waiting jobs for which no device is large enough: the last one that was may have been taken out."""
        answering = self._devices.answering
        for routed in self._line.waiting():
            if (misfit := routed.misfit(answering)) is not None:
                routed.stop(misfit)

    def _decided(self) -> list[Placed]:
        waiting = self._line.waiting()
        if self._closing or not (waiting or self._pending()):
            return []
        clients = {routed.job.client for routed in self._line if routed.device is not None}
        line: list[Waiting] = []
        for routed in waiting:
            line.append(self._waiting(routed, first=routed.job.client not in clients))
            clients.add(routed.job.client)
        models = {(routed.lane.model, routed.job.model) for routed in (*waiting, *self._pending())}
        return decide(line, [self._load(device, models) for device in self._devices.answering], self._max_rows)

    def _place(self, placed: Placed) -> None:
        routed = next(routed for routed in self._line if routed.key == placed.key)
        device = next(device for device in self._devices if device.name == placed.device)
        if routed.device is None:
            self._line.give(routed, device)
        else:
            routed.move(device)

    def _waiting(self, routed: RoutedJob, *, first: bool = False) -> Waiting:
        return Waiting(
            key=routed.key,
            lane=routed.lane,
            rows=routed.rows,
            run_s=self._seconds_left(routed),
            alone=routed.alone,
            overdue=self._line.overdue(routed),
            first=first,
            unfit=frozenset(routed.unfit),
        )

    def _load(self, device: ServingDevice, models: Iterable[tuple[ModelName, ModelName]]) -> DeviceLoad:
        """Describe a device to `decide`; `models` are those whose weights run, each with the name that was asked for."""
        given = self._line.given_to(device)
        on_their_way = {routed.lane.model for routed in given}
        bring_s = {
            weights: self._bring_s(device, weights, name) for weights, name in models if weights not in on_their_way
        }
        return DeviceLoad(
            name=device.name,
            busy_s=self._busy_s(device),
            given=[self._waiting(routed) for routed in given],
            pending=[routed.key for routed in given if not routed.begun],
            bring_s={model: seconds for model, seconds in bring_s.items() if seconds},
        )

    def _busy_s(self, device: ServingDevice) -> float:
        """Estimate the seconds until a device has done what it was given."""
        if self._alone is not None:
            return device.dispatcher.wait_s()
        given = self._line.given_to(device)
        models = {(routed.lane.model, routed.job.model) for routed in given if not routed.begun}
        run_s = sum(self._seconds_left(routed) for routed in given)
        return run_s + sum(self._bring_s(device, *model) for model in models)

    def _bring_s(self, device: ServingDevice, *names: ModelName) -> float:
        """Estimate the seconds to bring a model to a device; a preset is there if its base is, and the other way round.

        Once an update, because a pool adds up its ledger for it.
        """
        for name in names:
            if (device.name, name) not in self._bring_s_now:
                self._bring_s_now[device.name, name] = self._bring_times.seconds(device.pool, name)
        return min(self._bring_s_now[device.name, name] for name in names)

    def _seconds_left(self, routed: RoutedJob) -> float:
        """Estimate the seconds of a device that a job has still to take."""
        return sum(self._seconds(stage.outline) for stage in routed.stages or ()) * routed.part_left or _USUAL_JOB_S

    def _expected_left_s(self, routed: RoutedJob) -> float:
        """Estimate the same for the line's order: by its size alone if its model has not made an image yet."""
        usual_s = self._devices.first.dispatcher.expected_s
        outlines = [stage.outline for stage in routed.stages]
        return sum(self._known_s(outline) or usual_s(outline) for outline in outlines) * routed.part_left

    def _charge(self) -> None:
        """Charge all jobs for their time on the devices up to now: the line orders clients by it."""
        for device in self._devices:
            device.dispatcher.charge()

    def _seconds(self, request: RenderRequest) -> float:
        return self._known_s(request) or _USUAL_JOB_S

    def _known_s(self, request: RenderRequest) -> float | None:
        known = (device.dispatcher.seconds(request) for device in self._devices)
        return next((seconds for seconds in known if seconds is not None), None)

    def _max_rows(self, lane: Lane) -> int:
        return max((device.dispatcher.best_rows(lane) for device in self._devices.answering), default=1)

    def _pending(self) -> list[RoutedJob]:
        """List the jobs that a device was given and has not begun."""
        return [routed for routed in self._line if routed.device is not None and not routed.begun]

    def _without_device(self) -> list[RoutedJob]:
        return [routed for routed in self._jobs if routed.device is None]

    def _retry_after_s(self) -> int:
        return max(1, round(self.wait_s()))


def _returning(stages: Sequence[Stage]) -> Resolve:
    async def resolve(_spec: ModelSpec) -> Sequence[Stage]:
        return stages

    return resolve


def _is_cancelled() -> bool:
    """Tell whether the present task itself is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
