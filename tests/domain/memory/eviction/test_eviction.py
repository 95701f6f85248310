"""Who leaves: least recently used first, no more than needed, what is waited for last, shared bytes counted once."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.memory.eviction.eviction import (
    Idle,
    IdleAsset,
    Shares,
    freed_nbytes,
    plan_eviction,
    plan_unloading,
)
from litestar_diffusion.domain.models.assets import AssetKey
from litestar_diffusion.domain.models.components import ComponentId

IDLE = st.lists(
    st.builds(
        Idle,
        key=st.uuids().map(str),
        nbytes=st.integers(1, 100),
        last_used=st.integers(0, 6).map(float),
        wanted=st.none() | st.integers(0, 5),
    ),
    unique_by=lambda candidate: candidate.key,
    max_size=9,
)


@st.composite
def hosts(draw: st.DrawFn) -> tuple[list[IdleAsset], Shares]:
    """Idle models that share components with each other and with models in use."""
    pool = [ComponentId(str(index)) for index in range(8)]
    nbytes = {component: draw(st.integers(1, 100)) for component in pool}
    idle = [
        IdleAsset(
            key=AssetKey("model", str(index)),
            components=draw(st.sets(st.sampled_from(pool), min_size=1, max_size=4)),
            last_used=draw(st.integers(0, 5)),
            wanted=draw(st.none() | st.integers(0, 3)),
        )
        for index in range(draw(st.integers(0, 5)))
    ]
    in_use = draw(st.lists(st.sets(st.sampled_from(pool), max_size=3), max_size=2))
    everyone = [set(model.components) for model in idle] + in_use
    counts = {component: sum(component in one for one in everyone) for component in pool}
    return idle, Shares(nbytes=nbytes, owners=counts)


@given(IDLE, st.integers(-50, 500))
def test_a_plan_frees_enough_and_every_victim_is_needed(idle: list[Idle], need: int) -> None:
    plan = plan_eviction(idle, need)
    if plan is None:
        assert sum(candidate.nbytes for candidate in idle) < need
        return
    freed = sum(victim.nbytes for victim in plan)
    assert freed >= max(need, 0) or not plan
    assert all(freed - victim.nbytes < need for victim in plan)


@given(IDLE, st.integers(1, 500))
def test_nobody_goes_while_what_was_used_before_it_would_have_been_enough(idle: list[Idle], need: int) -> None:
    plan = plan_eviction(idle, need)
    if plan is None:
        return
    order = {
        candidate.key: (candidate.wanted is not None, -(candidate.wanted or 0), candidate.last_used)
        for candidate in idle
    }
    latest = max(order[victim.key] for victim in plan)
    assert sum(candidate.nbytes for candidate in idle if order[candidate.key] < latest) < need


@given(IDLE.filter(lambda idle: len(idle) <= 5), st.integers(1, 300))
def test_of_components_used_last_together_the_fewest_bytes_go(idle: list[Idle], need: int) -> None:
    together = [Idle(key=candidate.key, nbytes=candidate.nbytes, last_used=1.0) for candidate in idle]
    plan = plan_eviction(together, need)
    subsets = [subset for size in range(len(together) + 1) for subset in combinations(together, size)]
    enough = [sum(one.nbytes for one in subset) for subset in subsets if sum(one.nbytes for one in subset) >= need]
    assert (plan is None) == (not enough)
    assert plan is None or sum(victim.nbytes for victim in plan) == min(enough)


def test_what_is_waited_for_goes_last_and_of_that_the_furthest_back_first() -> None:
    idle = [
        Idle(key="soon", nbytes=10, last_used=1, wanted=0),
        Idle(key="later", nbytes=10, last_used=2, wanted=3),
        Idle(key="fresh", nbytes=10, last_used=9),
    ]
    assert [victim.key for victim in plan_eviction(idle, 20) or ()] == ["fresh", "later"]


@given(hosts(), st.integers(-20, 400))
def test_unloading_frees_enough_counts_shared_bytes_once_and_nobody_goes_needlessly(
    host: tuple[list[IdleAsset], Shares], need: int
) -> None:
    idle, shares = host
    plan = plan_unloading(idle, shares, need)
    if plan is None:
        assert freed_nbytes(idle, shares) < need
        return
    assert freed_nbytes(plan, shares) >= max(need, 0) or not plan
    for victim in plan:
        assert freed_nbytes([other for other in plan if other is not victim], shares) < need


def test_a_component_that_a_model_in_use_shares_frees_nothing() -> None:
    vae, unet = ComponentId("vae"), ComponentId("unet")
    shares = Shares(nbytes={vae: 10, unet: 50}, owners={vae: 2, unet: 1})
    model = IdleAsset(key=AssetKey("model", "a"), components=(vae, unet), last_used=1)
    assert freed_nbytes([model], shares) == 50
    assert plan_unloading([model], shares, 55) is None
