"""Which request goes to which device: the rules of `decide`, one by one, and what holds for every line."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.devices import Trace, bursty, simulated, zipf
from litestar_diffusion.domain.dispatch.lanes import Lane
from litestar_diffusion.domain.models.spec import ModelName
from litestar_diffusion.domain.placement.policy import BATCHES, FIRSTS, DeviceLoad, Placed, Waiting, decide


def waiting(key: str, model: str = "a", *, run_s: float = 5.0, side: int = 64, **facts: Any) -> Waiting:
    return Waiting(key=key, lane=Lane(ModelName(model), side, side), rows=1, run_s=run_s, **facts)


def device(
    name: str, *given: Waiting, busy_s: float | None = None, pending: Sequence[str] = (), **bring_s: float
) -> DeviceLoad:
    return DeviceLoad(
        name=name,
        busy_s=sum(each.run_s for each in given) if busy_s is None else busy_s,
        given=given,
        pending=pending,
        bring_s={ModelName(model): seconds for model, seconds in bring_s.items()},
    )


def placed(line: Sequence[Waiting], *devices: DeviceLoad, max_rows: int = 1) -> dict[str, str]:
    return {each.key: each.device for each in decide(line, devices, lambda _lane: max_rows)}


def test_a_request_goes_to_the_idle_device_that_has_its_model() -> None:
    assert placed([waiting("1")], device("x", a=0.3), device("y")) == {"1": "y"}


def test_a_request_waits_for_the_device_that_has_its_model_if_a_copy_takes_longer() -> None:
    line = [waiting("1")]
    assert placed(line, device("x", a=10), device("y", waiting("2"), busy_s=5)) == {"1": "y"}
    assert placed(line, device("x", a=10), device("y", waiting("2"), waiting("3"), busy_s=9)) == {}


def test_another_copy_is_made_if_the_queues_of_those_that_have_one_are_longer() -> None:
    line = [waiting("1")]
    assert placed(line, device("x", a=10), device("y", waiting("2"), waiting("3"), busy_s=16)) == {"1": "x"}


def test_the_queue_that_a_copy_is_compared_with_includes_the_requests_before_it_in_the_line() -> None:
    line = [waiting(str(number)) for number in range(3)]
    busy = device("y", waiting("8"), waiting("9"), busy_s=9)
    # The third would begin after 19 s on y, and after 15 on x.
    assert placed(line, device("x", a=10), busy) == {"2": "x"}


def test_requests_of_one_model_use_all_devices_that_have_it() -> None:
    line = [waiting(str(number)) for number in range(3)]
    assert placed(line, device("x"), device("y"), device("z")) == {"0": "x", "1": "y", "2": "z"}


def test_a_device_is_given_the_batch_that_it_runs_and_the_next_one() -> None:
    line = [waiting(str(number)) for number in range(5)]
    assert placed(line, device("x")) == {"0": "x", "1": "x"}
    assert placed(line, device("x"), max_rows=2) == dict.fromkeys("0123", "x")


def test_a_request_that_runs_alone_is_a_batch() -> None:
    line = [waiting("1", alone=True), waiting("2", alone=True), waiting("3")]
    assert placed(line, device("x"), max_rows=8) == {"1": "x", "2": "x"}


def test_a_request_whose_model_is_there_goes_before_one_whose_model_must_be_brought() -> None:
    line = [waiting("1", "b"), waiting("2"), waiting("3")]
    assert placed(line, device("x", b=1)) == {"2": "x", "3": "x"}


def test_no_request_is_given_to_a_device_that_an_overdue_one_waits_for() -> None:
    line = [waiting("1", "b", overdue=True), waiting("2"), waiting("3")]
    assert placed(line, device("x", b=1)) == {"1": "x", "2": "x"}
    full = device("x", waiting("8"), waiting("9"), b=1)
    assert placed(line, full, max_rows=2) == {"1": "x"}
    assert (
        placed([waiting("0", "c", overdue=True), *line[1:]], device("x", *full.given, waiting("7"), c=1), max_rows=2)
        == {}
    )


def test_the_first_request_of_a_client_is_given_away_at_once() -> None:
    busy = device("x", waiting("8"), waiting("9"))
    assert placed([waiting("1")], busy) == {}
    assert placed([waiting("1", first=True)], busy) == {"1": "x"}
    full = device("x", *(waiting(f"8{number}") for number in range(FIRSTS)))
    assert placed([waiting("1", first=True)], full) == {}


def test_a_device_without_work_is_given_what_waits_for_another_device() -> None:
    busy = device("x", waiting("1"), waiting("2"), pending=["2"])
    assert placed([], busy, device("y", a=1)) == {"2": "y"}
    assert placed([], busy, device("y", a=10)) == {}
    assert placed([], busy, device("y", waiting("3"), a=1)) == {}


def test_a_request_that_fits_no_device_keeps_no_other_from_it_however_long_it_waits() -> None:
    line = [waiting("1", overdue=True, unfit=["x"]), waiting("2")]
    assert placed(line, device("x")) == {"2": "x"}
    assert placed(line, device("x"), device("y", a=10)) == {"1": "y", "2": "x"}


def test_without_a_device_nothing_is_decided() -> None:
    assert placed([waiting("1")]) == {}


MODELS = st.sampled_from("abc")
REQUESTS = st.builds(
    waiting,
    st.uuids().map(str),
    MODELS,
    run_s=st.floats(0.1, 100),
    overdue=st.booleans(),
    first=st.booleans(),
    alone=st.booleans(),
    unfit=st.sets(st.sampled_from("0123"), max_size=2),
)
DEVICES = st.lists(
    st.builds(
        lambda given, begun, bring: device("", *given, pending=[each.key for each in given[begun:]], **bring),
        st.lists(REQUESTS, max_size=3),
        st.integers(0, 2),
        st.dictionaries(MODELS, st.floats(0.1, 30), max_size=3),
    ),
    max_size=4,
).map(
    lambda devices: [
        device(str(place), *load.given, pending=load.pending, **load.bring_s) for place, load in enumerate(devices)
    ]
)


@settings(max_examples=200)
@given(line=st.lists(REQUESTS, max_size=8), devices=DEVICES, max_rows=st.integers(1, 4))
def test_every_decision_keeps_the_rules(line: list[Waiting], devices: list[DeviceLoad], max_rows: int) -> None:
    decided = decide(line, devices, lambda _lane: max_rows)
    loads = {load.name: load for load in devices}
    assert len({each.key for each in decided}) == len(decided), "a request was given away twice"
    _nothing_idles(line, devices, decided)
    in_line = {each.key: each for each in line}
    pending = {key: load for load in devices for key in load.pending}
    for each in decided:
        if each.key not in in_line:
            assert not loads[each.device].given, "a request was moved to a device that has work"
            assert pending[each.key].name != each.device
            continue
        assert each.device not in in_line[each.key].unfit
        given_now = sum(other.device == each.device for other in decided)
        assert (
            len(loads[each.device].given) + given_now
            <= max(FIRSTS, BATCHES * max_rows, len(loads[each.device].given) + 1) + FIRSTS
        )


def _nothing_idles(line: Sequence[Waiting], devices: Sequence[DeviceLoad], decided: Sequence[Placed]) -> None:
    """A device without work that has the model of a request is given one, or all requests for it were given to others."""
    taken = {each.device for each in decided}
    left = [each for each in line if each.key not in {one.key for one in decided}]
    for load in devices:
        if not load.given and load.name not in taken:
            assert all(each.model in load.bring_s or load.name in each.unfit for each in left), (
                "a device idles beside a request that it could make at once"
            )


@pytest.mark.parametrize("trace", [zipf, bursty])
def test_eight_devices_make_eight_times_the_images_and_move_less_than_eight_servers(trace: Trace) -> None:
    one, eight, apart = (
        simulated(trace, devices, models=10, seed=1, requests=60, apart=each)
        for devices, each in ((1, False), (8, False), (8, True))
    )
    assert eight.images_per_s >= 8 * one.images_per_s * 0.95
    assert eight.read_gb <= 70, "a model was read from the disk twice"
    assert apart.read_gb > 3 * eight.read_gb
    assert eight.moved_gb < apart.moved_gb
