"""The event log: late and slow listeners see every event that is kept."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.jobs.event_log import EventLog, JobEvent


async def received(log: EventLog, after: int = 0, pause: int = 0) -> list[JobEvent]:
    found: list[JobEvent] = []
    async for event in log.follow(after):
        assert event is not None
        found.append(event)
        for _ in range(pause):
            await asyncio.sleep(0)
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["queued", "loading", "step"]), max_size=60),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 5), st.integers(0, 30)), min_size=1, max_size=4),
)
def test_every_listener_sees_all_events_after_the_one_it_knows_in_order_and_the_last(
    kinds: list[Any], listeners: list[tuple[int, int, int]]
) -> None:
    async def scenario() -> None:
        log = EventLog()

        async def listen(after: int, pause: int, late: int) -> list[JobEvent]:
            for _ in range(late):
                await asyncio.sleep(0)
            return await received(log, after, pause)

        tasks = [asyncio.create_task(listen(*listener)) for listener in listeners]
        for number, kind in enumerate(kinds):
            log.add(kind, number=number)
            await asyncio.sleep(0)
        log.add("done")
        log.add("step", number=99)
        last = len(kinds) + 1
        for (after, _, _), task in zip(listeners, tasks, strict=True):
            ids = [event.id for event in await asyncio.wait_for(task, 10)]
            assert ids == list(range(after + 1, last + 1))

    asyncio.run(scenario())


def test_a_long_job_drops_its_oldest_events_and_all_previews_but_one() -> None:
    log = EventLog()
    for number in range(1000):
        log.add("step", number=number)
        log.add("preview", number=number)
    log.add("done")
    kept = log.after(0)
    assert len(kept) <= 256
    assert [event.data["number"] for event in kept if event.kind == "preview"] == [999]
    assert kept[-1].kind == "done"
    assert [event.id for event in kept] == sorted(event.id for event in kept)


def test_a_listener_gets_none_while_no_event_comes() -> None:
    async def scenario() -> None:
        log = EventLog()
        log.add("queued", position=0)
        events = log.follow(idle_s=0.01)
        assert [(await anext(events)), (await anext(events)), (await anext(events))][1:] == [None, None]
        log.add("cancelled")
        assert (await anext(events)) == JobEvent(2, "cancelled", {})

    asyncio.run(scenario())
