"""A bucket gives a minute's tokens at once, then its rate, whatever is asked of it and when."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.access.api_key import ApiKey, hash_of
from litestar_diffusion.domain.access.quotas import Quotas
from litestar_diffusion.domain.access.token_bucket import TokenBucket
from litestar_diffusion.domain.errors import RateLimited


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


AMOUNTS = st.floats(0.01, 50)
PAUSES = st.floats(0, 200)
RATES = st.floats(1, 100)


@given(RATES, st.lists(st.tuples(PAUSES, AMOUNTS), max_size=60))
def test_in_no_window_is_more_given_than_a_minute_and_the_rate_and_one_request(
    per_minute: float, calls: list[tuple[float, float]]
) -> None:
    clock = Clock()
    bucket = TokenBucket(per_minute, clock)
    taken: list[tuple[float, float]] = []
    for pause, amount in calls:
        clock.now += pause
        if bucket.take(amount) == 0:
            taken.append((clock.now, amount))
    for first, (begun, _) in enumerate(taken):
        for last in range(first, len(taken)):
            ended, largest = taken[last][0], max(amount for _, amount in taken[first : last + 1])
            given = sum(amount for _, amount in taken[first : last + 1])
            beyond = max(0.0, largest - per_minute)
            assert given <= per_minute + (ended - begun) * per_minute / 60 + beyond + 1e-6


@given(RATES, st.lists(st.tuples(PAUSES, AMOUNTS), min_size=1, max_size=30))
def test_who_waits_as_long_as_told_is_served_and_not_much_sooner(
    per_minute: float, calls: list[tuple[float, float]]
) -> None:
    clock = Clock()
    bucket = TokenBucket(per_minute, clock)
    for pause, amount in calls:
        clock.now += pause
        wait_s = bucket.take(amount)
        if wait_s:
            before = bucket.left
            clock.now += wait_s * 0.5
            assert bucket.wait_s(amount) > 0
            clock.now += wait_s * 0.5 + 1e-6
            assert bucket.take(amount) == 0
            assert before < min(amount, per_minute)


@given(RATES, st.lists(AMOUNTS, max_size=30))
def test_what_is_refused_costs_nothing(per_minute: float, amounts: list[float]) -> None:
    clock = Clock()
    bucket = TokenBucket(per_minute, clock)
    for amount in amounts:
        before = bucket.left
        if bucket.take(amount):
            assert bucket.left == before


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = TokenBucket(2, Clock())
    assert [bucket.take(1) for _ in range(2)] == [0, 0]
    assert bucket.take(1) == pytest.approx(30)


def test_quotas_are_per_key_and_name_the_number_the_limit_and_the_setting() -> None:
    clock = Clock()
    limited = ApiKey(hash=hash_of("a"), scopes=("generate",), requests_per_minute=2, megapixel_steps_per_minute=100)
    quotas = Quotas({"ci": limited, "free": ApiKey(hash=hash_of("b"), scopes=("generate",))}, clock=clock)
    for _ in range(5):
        quotas.use_request("free")
        quotas.use_work("free", 1e9)
    quotas.use_request("ci")
    quotas.use_request("ci")
    with pytest.raises(RateLimited, match=r"2 requests for images a minute \(keys\.ci\.requests_per_minute\)") as told:
        quotas.use_request("ci")
    assert told.value.retry_after_s == 30
    quotas.use_work("ci", 60)
    with pytest.raises(RateLimited, match=r"takes 60 megapixel-steps .* 100 a minute .* has 40 left"):
        quotas.use_work("ci", 60)
    assert (quotas.requests_left("ci"), quotas.megapixel_steps_left("ci")) == (0, 40)
    assert (quotas.requests_left("free"), quotas.megapixel_steps_left("free")) == (None, None)
    clock.now = 60
    quotas.use_work("ci", 1000)
    assert quotas.megapixel_steps_left("ci") == 0


def test_dry_runs_are_limited_for_each_client_and_told_with_the_setting() -> None:
    clock = Clock()
    quotas = Quotas({}, dry_runs_per_minute=2, clock=clock)
    for client in ("10.0.0.1", "10.0.0.2"):
        quotas.use_dry_run(client)
        quotas.use_dry_run(client)
        with pytest.raises(RateLimited, match=r"2 dry runs a minute \(limits\.dry_runs_per_minute\)") as told:
            quotas.use_dry_run(client)
        assert told.value.retry_after_s == 30
    clock.now = 30
    quotas.use_dry_run("10.0.0.1")
    for _ in range(100):
        Quotas({}).use_dry_run("without a limit")
