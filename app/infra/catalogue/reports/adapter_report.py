"""What `litestar-diffusion inspect` says of an adapter or a VAE: what was found, and why, in words."""

from collections.abc import Iterator
from pathlib import Path

from ....domain.errors import UnusableAdapter, UnusableVae
from ....domain.families.registry import family_named
from ....domain.models.adapters import AdapterReading, AdapterSpec
from ....domain.models.vaes import VaeSpec
from ....domain.units import format_bytes
from ..additions.additions import ADAPTERS, VAES
from ..additions.local_adapters import describe_adapter
from ..additions.local_vaes import describe_vae
from ..scan import candidate_of


def explain_addition(path: Path) -> str | None:
    """Describe the file of an adapter or a VAE; None if it is neither, and lies in no folder of them.

    Raises:
        UnusableAdapter, UnusableVae: it lies in such a folder, and cannot be used.
    """
    if path.is_dir():
        return None
    parents = {parent.name.lower() for parent in path.absolute().parents}
    candidate = candidate_of(path.absolute())
    adapter, vae = describe_adapter(candidate).spec, describe_vae(candidate).spec
    if adapter.unusable is None:
        return "\n".join(_adapter(adapter, path))
    if vae.unusable is None:
        return "\n".join(_vae(vae, path))
    if parents & set(ADAPTERS.names):
        raise UnusableAdapter(path.name, adapter.unusable)
    if parents & set(VAES.names):
        raise UnusableVae(path.name, vae.unusable)
    return None


def _adapter(spec: AdapterSpec, path: Path) -> Iterator[str]:
    reading = spec.reading
    assert reading is not None
    yield f"{path}: usable, as adapter {spec.name} for {family_named(reading.family).title}"
    yield ""
    yield "What it is, and how that was found:"
    for line in reading.evidence:
        yield f"  - {line}"
    yield ""
    yield from (f"{name + ':':<16}{value}" for name, value in _facts(spec, reading) if value)
    yield f"Use it with a prompt that holds <lora:{spec.name}:1>"


def _facts(spec: AdapterSpec, reading: AdapterReading) -> Iterator[tuple[str, str]]:
    titles = family_named(reading.family).components
    yield "Title", reading.title or ""
    yield "Format", reading.format
    yield "Algorithms", ", ".join((*reading.algorithms, *(("DoRA",) if reading.dora else ())))
    yield "Ranks", ", ".join(map(str, reading.ranks))
    yield "Alphas", ", ".join(f"{alpha:g}" for alpha in reading.alphas)
    yield "Changes", f"{reading.layers} layers of {', '.join(titles.get(name, name) for name in reading.components)}"
    yield "Trigger words", ", ".join(_printable(word) for word in reading.trigger_words)
    yield "Size", f"{format_bytes(spec.nbytes)}, {spec.numbers / 1e6:,.2f} M parameters"


def _vae(spec: VaeSpec, path: Path) -> Iterator[str]:
    assert spec.reading is not None
    yield f"{path}: usable, as VAE {spec.name} for {family_named(spec.reading.family).title}"
    yield ""
    for line in spec.reading.evidence:
        yield f"  - {line}"
    yield f"  - {format_bytes(spec.nbytes)}"


def _printable(text: str) -> str:
    """Leave out control characters: a terminal obeys some of them."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
