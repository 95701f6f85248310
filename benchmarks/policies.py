"""Which model leaves when another comes: policies on the same traces. `uv run python benchmarks/policies.py`.

Ten SDXL models on a device that holds about three. Compared: plain LRU of whole models; ours, the pool's own `plan_eviction`,
which drops single components and sees the queue; and the same with the whole future in sight, Belady's optimum, which no
server can reach.
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from litestar_diffusion.domain.memory.eviction.eviction import Idle, plan_eviction

_GB = 10**9
_PARTS = {"unet": 5.135, "text_encoder_2": 1.389, "text_encoder": 0.246, "vae": 0.167}
"""GB of each component of SDXL in fp16."""
_ACTIVATIONS = (0.4, 0.9, 1.6)
"""GB that a request needs beside the weights: 512², 768², 1024²."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trace."""

    model: int
    activation_nbytes: int


@dataclass(slots=True)
class Outcome:
    """What a policy made of a trace."""

    hits: int = 0
    moved_nbytes: int = 0


Choose = Callable[[Sequence[Idle], int, Sequence[Request], dict[str, int]], Sequence[Idle]]
"""Given idle components, bytes to free, the requests to come, and whose components are whose: the victims."""


def components(model: int, shared: bool) -> dict[str, int]:
    """Ids and bytes of a model's components; with `shared`, all models have the same text encoders and VAE."""
    return {name if shared and name != "unet" else f"{name}-{model}": int(size * _GB) for name, size in _PARTS.items()}


def lru(idle: Sequence[Idle], need: int, _ahead: Sequence[Request], owner: dict[str, int]) -> Sequence[Idle]:
    """Whole models, least recently used first."""
    victims: list[Idle] = []
    order = sorted(
        {owner[one.key] for one in idle},
        key=lambda model: max(one.last_used for one in idle if owner[one.key] == model),
    )
    for model in order:
        if sum(one.nbytes for one in victims) >= need:
            break
        victims += [one for one in idle if owner[one.key] == model]
    return victims


def ours(idle: Sequence[Idle], need: int, _ahead: Sequence[Request], _owner: dict[str, int]) -> Sequence[Idle]:
    """The pool's own plan."""
    return plan_eviction(idle, need) or ()


def run(trace: Sequence[Request], budget: int, choose: Choose, *, ahead: int, shared: bool) -> Outcome:
    """Play a trace on a simulated device, first come first served.

    Args:
        trace: the requests.
        budget: bytes of the device.
        choose: the policy.
        ahead: how many waiting requests it sees.
        shared: see `components`.
    """
    outcome, resident, used, owner = Outcome(), dict[str, int](), dict[str, float](), dict[str, int]()
    for now, request in enumerate(trace):
        own = components(request.model, shared)
        missing = {key: nbytes for key, nbytes in own.items() if key not in resident}
        outcome.hits += not missing
        need = sum(resident.values()) + sum(missing.values()) + request.activation_nbytes - budget
        if need > 0:
            queue = trace[now + 1 : now + 1 + ahead]
            wanted = dict[str, int]()
            for position, waiting in enumerate(queue):
                for key in components(waiting.model, shared):
                    wanted.setdefault(key, position)
            idle = [
                Idle(key=key, nbytes=nbytes, last_used=used[key], wanted=wanted.get(key))
                for key, nbytes in resident.items()
                if key not in own
            ]
            for victim in choose(idle, need, queue, owner):
                del resident[victim.key]
        resident |= missing
        owner |= dict.fromkeys(own, request.model)
        used |= dict.fromkeys(own, float(now))
        outcome.moved_nbytes += sum(missing.values())
        assert sum(resident.values()) + request.activation_nbytes <= budget
    return outcome


def zipf(rng: random.Random, length: int, models: int) -> list[Request]:
    """Independent requests; the k-th most popular model is asked for 1/k as often as the first."""
    weights = [1 / (rank + 1) for rank in range(models)]
    return [_request(rng, model) for model in rng.choices(range(models), weights, k=length)]


def bursty(rng: random.Random, length: int, models: int) -> list[Request]:
    """Four users at a time, each of whom stays with a model for a while, take turns at random."""
    users = [(rng.randrange(models), rng.randint(3, 12)) for _ in range(4)]
    trace: list[Request] = []
    while len(trace) < length:
        turn = rng.randrange(len(users))
        model, left = users[turn]
        trace.append(_request(rng, model))
        users[turn] = (model, left - 1) if left > 1 else (rng.randrange(models), rng.randint(3, 12))
    return trace


def _request(rng: random.Random, model: int) -> Request:
    return Request(model, int(rng.choice(_ACTIVATIONS) * _GB))


def main() -> None:
    """Play all traces and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=count, default=10, help="traces of each kind (default: 10)")
    parser.add_argument("--length", type=count, default=1000, help="requests in a trace (default: 1000)")
    options = parser.parse_args()
    budget, models = 24 * _GB, 10
    table = Table(
        "trace", "shared", "policy", "hits", "TB moved", "of the way to Belady", title=f"{models} models, 24 GB"
    )
    for name, make in (("zipf", zipf), ("bursty", bursty)):
        traces = [make(random.Random(seed), options.length, models) for seed in range(options.seeds)]
        for shared in (False, True):
            _compare(table, name, traces, budget, shared)
    Console().print(table)


def _compare(table: Table, name: str, traces: Sequence[Sequence[Request]], budget: int, shared: bool) -> None:
    policies: list[tuple[str, Choose, int]] = [("LRU", lru, 0)] if not shared else []
    policies += [(f"ours, {depth} waiting", ours, depth) for depth in (0, 2, 4, 8, 16)]
    policies.append(("Belady", ours, 10**9))
    results = {
        label: [run(trace, budget, choose, ahead=ahead, shared=shared) for trace in traces]
        for label, choose, ahead in policies
    }
    moved = {label: sum(one.moved_nbytes for one in outcomes) for label, outcomes in results.items()}
    worst = next(iter(moved.values()))
    for label, outcomes in results.items():
        hits = sum(one.hits for one in outcomes) / sum(len(trace) for trace in traces)
        way = (worst - moved[label]) / max(worst - moved["Belady"], 1)
        table.add_row(name, "yes" if shared else "no", label, f"{hits:.1%}", f"{moved[label] / 1e12:.2f}", f"{way:.0%}")
    table.add_section()


if __name__ == "__main__":
    main()
