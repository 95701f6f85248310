"""The layers of an adapter's file: which tensors change which layer, in which form."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...reading import CheckpointFile, NotServable, Shapes
from ..tensors.key_tensors import TITLES, ComponentName, join_problems
from .algorithms import Form, Misfit, form_of
from .keys import read_key

_UNREAD = ("bundle_emb.",)
"""Prefixes of keys that are no part of the adapter: textual inversions that OneTrainer packs into the file."""
_MOST_RANK = 4096
_OTHER_ALGORITHMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("OFT or BOFT, which rotates weights", (".oft_blocks", ".oft_diag", ".oft_R", ".boft_")),
    ("GLoRA", (".a1.weight", ".b1.weight")),
    ("IA3", (".on_input", ".ia3_l")),
    ("VeRA, whose factors are not in the file", (".vera_lambda",)),
)
"""Algorithms that are not served, and ends of keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterLayer:
    """The change of one layer."""

    component: ComponentName
    name: str
    """Name of the layer, as the file spells it."""
    form: Form
    keys: Mapping[str, str]
    """Keys of its tensors by their roles; see `keys.Key.role`."""

    @property
    def shown(self) -> str:
        """The layer, in words."""
        return f"{self.name} of the {TITLES[self.component]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All layers of a file."""

    format: str
    layers: tuple[AdapterLayer, ...]
    unread: tuple[str, ...]
    """Keys that are no part of the adapter."""


@dataclass(slots=True)
class _Gathered:
    keys: dict[str, str] = field(default_factory=dict[str, str])
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])


def read_contents(file: CheckpointFile) -> Contents | None:
    """Read the layers of a file; None if it is no adapter.

    Raises:
        NotServable: it is one, but some of its keys cannot be used.
    """
    read = {key: read_key(key) for key in file.shapes if not key.startswith(_UNREAD)}
    if not any(key is not None for key in read.values()):
        _refuse_other_algorithms(file.shapes)
        return None
    unknown = [key for key, found in read.items() if found is None]
    if unknown:
        _refuse_other_algorithms(unknown)
        raise NotServable(
            f"it holds tensors that no known adapter has: {join_problems([repr(key) for key in unknown])}."
        )
    gathered: dict[tuple[ComponentName, str], _Gathered] = {}
    formats: list[str] = []
    for key, found in read.items():
        assert found is not None
        layer = gathered.setdefault((found.component, found.layer), _Gathered())
        layer.keys[found.role] = key
        layer.shapes[found.role] = file.shapes[key]
        formats += [found.format] if found.format else []
    _refuse_odd(file, gathered)
    layers = [_layer(component, name, tensors) for (component, name), tensors in gathered.items()]
    unread = tuple(key for key in file.shapes if key.startswith(_UNREAD))
    return Contents(format=formats[0] if formats else "diffusers", layers=tuple(layers), unread=unread)


def _layer(component: ComponentName, name: str, tensors: _Gathered) -> AdapterLayer:
    layer = f"layer {name!r} of its {TITLES[component]}"
    try:
        form = form_of(tensors.shapes)
    except Misfit as problem:
        raise NotServable(f"{layer} is incomplete or damaged: {problem}. Download the file again.") from problem
    if any(0 in shape for shape in tensors.shapes.values()):
        raise NotServable(f"{layer} has a tensor without numbers. Download the file again.")
    if form.rank is not None and form.rank > _MOST_RANK:
        raise NotServable(
            f"{layer} has rank {form.rank}, the limit is {_MOST_RANK}; a change of this rank is no adapter."
        )
    return AdapterLayer(component=component, name=name, form=form, keys=tensors.keys)


def _refuse_other_algorithms(keys: Shapes | list[str]) -> None:
    for what, ends in _OTHER_ALGORITHMS:
        if any(end in key for key in keys for end in ends):
            raise NotServable(f"it is an adapter by {what}; that is not served. LoRA, LoCon, LoHa, LoKr and DoRA are.")


def _refuse_odd(file: CheckpointFile, gathered: Mapping[tuple[ComponentName, str], _Gathered]) -> None:
    """Refuse factors that are no floating-point numbers; alphas are whole numbers in some files."""
    for tensors in gathered.values():
        for role, key in tensors.keys.items():
            if key in file.odd and role != "alpha":
                raise NotServable(f"{key} has dtype {file.odd[key]}, which holds no floating-point numbers.")
