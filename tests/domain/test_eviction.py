"""`plan_eviction`: least recently used first, no more than needed, None where nothing helps."""

from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.eviction import Resident, plan_eviction
from litestar_diffusion.domain.model import ModelName

RESIDENTS = st.lists(
    st.builds(
        Resident,
        name=st.uuids().map(lambda value: ModelName(str(value))),
        version=st.just("1"),
        nbytes=st.integers(1, 100),
        last_used=st.floats(0, 1000),
    ),
    unique_by=lambda resident: resident.name,
)


@given(RESIDENTS, st.integers(-50, 500))
def test_a_plan_frees_enough_and_nothing_beyond_the_last_victim(idle: list[Resident], need: int) -> None:
    plan = plan_eviction(idle, need)
    sizes = {resident.name: resident.nbytes for resident in idle}
    if plan is None:
        assert sum(sizes.values()) < need
        return
    assert sum(victim.nbytes for victim in plan) >= max(need, 0)
    assert sum(victim.nbytes for victim in plan[:-1]) < need or not plan


@given(RESIDENTS, st.integers(1, 500))
def test_nobody_stays_who_was_used_before_a_victim(idle: list[Resident], need: int) -> None:
    plan = plan_eviction(idle, need)
    if plan is None:
        return
    used = {resident.name: resident.last_used for resident in idle}
    stay = [used[name] for name in used if name not in {victim.name for victim in plan}]
    assert all(max(victim.last_used for victim in plan) <= other for other in stay)
