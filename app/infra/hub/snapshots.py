"""Which files of a repository are wanted, and which are in the cache."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from ...domain.errors import DownloadFailed
from ...domain.families.family import Family
from ...domain.families.registry import families
from ...domain.models.spec import HubRepository
from ..weights.weight_files import WEIGHT_STEMS

_STEM = f"(?:{'|'.join(WEIGHT_STEMS)})"
_WEIGHTS = re.compile(_STEM + r"(?:\.(?P<variant>[^.]+?))?(?:-\d{5}-of-(?P<parts>\d{5}))?\.safetensors")
_INDEX = re.compile(_STEM + r"\.safetensors\.index(?:\.(?P<variant>[^.]+))?\.json")


def assumed_family() -> Family:
    """Return the family of repositories, which must be known before a file is downloaded: the first of the registry."""
    return families()[0]


def cached_snapshot(source: HubRepository, cache: Path | None) -> Path | None:
    """Find the folder of a repository that is completely in the cache; None otherwise. Makes no request.

    Plain weights serve if the cache lacks the variant: they hold the same model.
    """
    repository = repository_folder(source, cache)
    revision = source.revision or "main"
    reference = repository / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    folder = repository / "snapshots" / commit
    family = assumed_family()
    if not all((folder / name).is_file() for name in family.config_files):
        return None
    complete = all(
        _weights([file.name for file in (folder / component).iterdir() if file.is_file()], source.variant)
        for component in family.components
    )
    return folder if complete else None


def wanted_files(names: Iterable[str], source: HubRepository) -> list[str]:
    """Select a repository's configs, tokenizers and safetensors weights of each component, the variant's if it has any.

    Raises:
        DownloadFailed: a component has no such weights.
    """
    names, family = list(names), assumed_family()
    wanted = [name for name in names if name in family.config_files] + family.tokenizer_files(names)
    for component in family.components:
        inside = [PurePosixPath(name).name for name in names if str(PurePosixPath(name).parent) == component]
        chosen = _weights(inside, source.variant)
        if not chosen:
            raise DownloadFailed(_no_weights(source, family, component, inside))
        wanted += [f"{component}/{name}" for name in chosen]
    return wanted


def _weights(names: Collection[str], variant: str | None) -> list[str]:
    """Select the weights of one component among the names of its files, with their index; empty if shards are missing."""
    for tag in dict.fromkeys((variant, None)):
        index = [name for name in names if (match := _INDEX.fullmatch(name)) and match["variant"] == tag]
        weights = [match for name in sorted(names) if (match := _WEIGHTS.fullmatch(name)) and match["variant"] == tag]
        shards = [match for match in weights if match["parts"]]
        if index:
            complete = bool(shards) and len(shards) == int(shards[0]["parts"])
            return index + [shard.string for shard in shards] if complete else []
        whole = [match.string for match in weights if not match["parts"]]
        if whole:
            return whole[:1]
    return []


def _no_weights(source: HubRepository, family: Family, component: str, names: Iterable[str]) -> str:
    offered = {match["variant"] for name in names if (match := _WEIGHTS.fullmatch(name))}
    if offered:
        variants = ", ".join(sorted(repr(variant) for variant in offered if variant is not None))
        missing = f"variant {source.variant!r}" if source.variant else "plain weights"
        return f"{source.repo} has no {missing} of its {component}. Set `variant` to one that it offers: {variants}."
    return (
        f"{source.repo} has no .safetensors weights of its {component}. It must be a repository of {family.title} in the "
        "diffusers layout; pickled weights (.bin, .ckpt) are never downloaded: convert them."
    )


def _cache_folder(cache: Path | None) -> Path:
    if cache is not None:
        return cache
    from huggingface_hub import constants  # here, because it takes a while to import

    return Path(constants.HF_HUB_CACHE)


def repository_folder(source: HubRepository, cache: Path | None) -> Path:
    """Return the folder in which the client keeps every cached revision of a repository."""
    return _cache_folder(cache) / f"models--{source.repo.replace('/', '--')}"
