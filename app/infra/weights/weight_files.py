"""Which files hold the weights of one component of a diffusers folder."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ...domain.families.reading import NotServable

PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})
WEIGHT_STEMS = ("diffusion_pytorch_model", "model")
"""Names of weight files in the diffusers layout, up to the first full stop: of diffusers' networks, and of transformers'."""


_STEM = f"(?:{'|'.join(WEIGHT_STEMS)})"
WEIGHTS = re.compile(_STEM + r"(?:\.(?P<variant>[^.]+?))?(?:-\d{5}-of-(?P<parts>\d{5}))?\.safetensors")
INDEX = re.compile(_STEM + r"\.safetensors\.index(?:\.(?P<variant>[^.]+))?\.json")


class _Index(msgspec.Struct):
    """Of `*.safetensors.index.json`: which shard holds which tensor."""

    weight_map: dict[str, str]


def weight_files(component: Path, variant: str | None) -> list[Path]:
    """List the safetensors files of a component: those of the variant if there are any, else the plain ones.

    Without a variant the plain files come first, then the fp16 ones, then those of the only variant that there is.

    Raises:
        NotServable: there are none, or an index cannot be used.
    """
    for index, whole in _choices(component, variant):
        if index.is_file():
            return _shards(index)
        if whole.is_file():
            return [whole]
    raise NotServable(f"its {component.name} {_what_is_there(component)}")


def _choices(component: Path, variant: str | None) -> Iterator[tuple[Path, Path]]:
    for stem in WEIGHT_STEMS:
        for tag in (variant, None) if variant else (None, "fp16"):
            yield _files_of(component, stem, tag)
    offered = _offered_variants(component)
    if not variant and len(offered) == 1:
        yield from (_files_of(component, stem, offered[0]) for stem in WEIGHT_STEMS)


def _files_of(component: Path, stem: str, variant: str | None) -> tuple[Path, Path]:
    """Return the index of the shards and the whole file of a variant, whether they exist or not."""
    tag = f".{variant}" if variant else ""
    return component / f"{stem}.safetensors.index{tag}.json", component / f"{stem}{tag}.safetensors"


def _offered_variants(component: Path) -> list[str]:
    """List the variants of a component's weights by the names of its files."""
    names = [file.name for file in component.iterdir()] if component.is_dir() else []
    found = (match["variant"] for name in names if (match := WEIGHTS.fullmatch(name) or INDEX.fullmatch(name)))
    return sorted({variant for variant in found if variant is not None})


def _shards(index: Path) -> list[Path]:
    where = f"{index.parent.name}/{index.name}"
    try:
        names = sorted(set(msgspec.json.decode(index.read_bytes(), type=_Index).weight_map.values()))
    except OSError as error:
        raise NotServable(f"{where} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotServable(f"{where} is not as it should be: {error}.") from error
    odd = next((name for name in names if not name.endswith(".safetensors") or set(name) & set("/\\\0")), None)
    if odd is not None or not names:
        raise NotServable(f"{where} must name safetensors files beside it, got {odd!r}.")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise NotServable(f"{where} names {', '.join(missing[:3])}, which is not there. Download the folder again.")
    return [index.parent / name for name in names]


def _what_is_there(component: Path) -> str:
    if not component.is_dir():
        return "is missing. Download the whole folder."
    if any(file.suffix in PICKLES for file in component.iterdir()):
        return (
            "is there as a pickle alone (.bin). Pickles can run code when they are loaded and are never opened here: "
            "save the pipeline again with safe_serialization=True."
        )
    offered = _offered_variants(component)
    if offered:
        return f"holds weights of the variants {', '.join(offered)}, none of which is fp16. Keep the files of one."
    return "holds no safetensors weights. Download the whole folder."
