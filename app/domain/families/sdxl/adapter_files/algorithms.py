"""Forms in which an adapter's file holds the change of a weight, and the shape of the weight that each implies.

LoRA: arXiv:2106.09685; LoHa and LoKr: arXiv:2309.14859; DoRA: arXiv:2402.09353.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ....models.adapters import AdapterAlgorithm

Shape = tuple[int, ...]
RoleShapes = Mapping[str, Shape]
"""The shape of each tensor of a layer by its role."""
MAGNITUDES = ("magnitude", "dora_scale")
"""Roles of DoRA's lengths: PEFT's are those of the outputs, LyCORIS's may be those of the inputs, which their shape tells."""
_BESIDE = frozenset({"alpha", "scalar", *MAGNITUDES, "diff_b", "up_bias"})
"""Roles that say nothing of the form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The form of a change, as far as shapes tell."""

    algorithm: AdapterAlgorithm
    changed: Shape
    """Shape of the weight that it changes, as a matrix: outputs, and inputs times the size of the kernel. A vector for a norm."""
    rank: int | None = None
    """None if nothing is factorised."""


class Misfit(ValueError):
    """Tensors of a layer are missing or do not fit each other; the message says which."""


def form_of(shapes: RoleShapes) -> Form:
    """Tell the form of a layer's change from the shapes of its tensors.

    Raises:
        Misfit: a factor is missing, or factors do not fit each other.
    """
    form = _form(shapes)
    magnitudes = [shapes[role] for role in MAGNITUDES if role in shapes]
    _require(all(_scales(magnitude, form.changed) for magnitude in magnitudes), "its magnitude has another size")
    biases = [shapes[role] for role in ("diff_b", "up_bias") if role in shapes]
    _require(all(bias == form.changed[:1] for bias in biases), "its bias has another size")
    return form


def _form(shapes: RoleShapes) -> Form:
    roles = shapes.keys() - _BESIDE
    if any(role.startswith("hada_") for role in roles):
        return _loha(shapes)
    if any(role.startswith("lokr_") for role in roles):
        return _lokr(shapes)
    if roles & {"down", "up", "mid"}:
        return _lora(shapes)
    return _full(shapes)


def _lora(shapes: RoleShapes) -> Form:
    down, up = _needed(shapes, "down"), _needed(shapes, "up")
    _require(len(down) in (2, 4) and len(up) in (2, 4), "its factors have neither two nor four sides")
    _require(down[0] == up[1] and set(up[2:]) <= {1}, "the ranks of its two factors differ")
    inputs = math.prod(down[1:])
    mid = shapes.get("mid")
    if mid is not None:
        _require(mid[:2] == (down[0], down[0]) and len(mid) == 4, "its middle factor has another rank")
        inputs *= math.prod(mid[2:])
    return Form(algorithm="lora", changed=(up[0], inputs), rank=down[0])


def _loha(shapes: RoleShapes) -> Form:
    first = _product(shapes, "hada_w1_a", "hada_w1_b", "hada_t1")
    second = _product(shapes, "hada_w2_a", "hada_w2_b", "hada_t2")
    _require(first.changed == second.changed, "its two products have different shapes")
    return Form(algorithm="loha", changed=first.changed, rank=first.rank)


def _lokr(shapes: RoleShapes) -> Form:
    first = _kronecker_factor(shapes, "lokr_w1")
    second = _kronecker_factor(shapes, "lokr_w2")
    changed = first.changed[0] * second.changed[0], first.changed[1] * second.changed[1]
    return Form(algorithm="lokr", changed=changed, rank=first.rank or second.rank)


def _kronecker_factor(shapes: RoleShapes, role: str) -> Form:
    whole = shapes.get(role)
    if whole is None:
        return _product(shapes, f"{role}_a", f"{role}_b", role.replace("_w", "_t"))
    _require(len(whole) >= 2, f"{role} is no matrix")
    return Form(algorithm="lokr", changed=(whole[0], math.prod(whole[1:])))


def _product(shapes: RoleShapes, left: str, right: str, core: str) -> Form:
    """Tell the shape of `left @ right`, or of the core that both unfold (a Tucker decomposition)."""
    a, b, t = _needed(shapes, left), _needed(shapes, right), shapes.get(core)
    _require(len(a) == 2 and len(b) == 2, f"{left} and {right} are no matrices")
    if t is None:
        _require(a[1] == b[0], f"the ranks of {left} and {right} differ")
        return Form(algorithm="loha", changed=(a[0], b[1]), rank=b[0])
    _require(len(t) == 4 and t[:2] == (a[0], b[0]), f"{core} does not fit {left} and {right}")
    return Form(algorithm="loha", changed=(a[1], b[1] * math.prod(t[2:])), rank=b[0])


def _full(shapes: RoleShapes) -> Form:
    whole = shapes.get("diff")
    if whole is None:
        return Form(algorithm="full", changed=_needed(shapes, "diff_b"))
    _require(len(whole) >= 1, "its difference is a single number")
    return Form(algorithm="full", changed=whole if len(whole) == 1 else (whole[0], math.prod(whole[1:])))


def _scales(magnitude: Shape, changed: Shape) -> bool:
    """Tell whether a magnitude of DoRA has a number for each output, or for each input as some files of LyCORIS have."""
    numbers = math.prod(magnitude)
    return numbers == changed[0] or (magnitude[:1] == (1,) and len(changed) == 2 and changed[1] % numbers == 0)


def _needed(shapes: RoleShapes, role: str) -> Shape:
    if role not in shapes:
        raise Misfit(f"it has no {role!r} beside {', '.join(repr(other) for other in sorted(shapes))}")
    return shapes[role]


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise Misfit(problem)
