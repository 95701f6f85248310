"""Which files of a repository are wanted, and which are in the cache."""

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from ...domain.errors import DownloadFailed
from ...domain.families.family import Family
from ...domain.families.registry import families
from ...domain.models.spec import HubRepository
from ..weights.weight_files import INDEX, WEIGHTS


def assumed_family() -> Family:
    """Return the family of repositories, which must be known before a file is downloaded: the first of the registry."""
    return families()[0]


def cached_snapshot(source: HubRepository, cache: Path | None) -> Path | None:
    """Find the folder of a repository that is completely in the cache; None otherwise. Makes no request.

    Plain weights serve if the cache lacks the variant: they hold the same model. If no revision is asked for, and the cache
    has no complete one under the name `main`, its newest complete one serves: caches are copied without their `refs`.
    """
    return next((folder for folder in _snapshots(source, cache) if not _lacking(folder, source)), None)


def describe_cached(source: HubRepository, cache: Path | None) -> str:
    """Say what the cache holds of a repository, and what is missing."""
    repository = repository_folder(source, cache)
    folder = next((folder for folder in _snapshots(source, cache) if folder.is_dir()), None)
    if folder is None:
        others = sorted(each.name for each in repository.glob("snapshots/*"))
        held = f" It holds the revisions {', '.join(others[:_MAX_NAMED])}." if others else ""
        return f"{source.repo} is not in the cache at {_cache_folder(cache)}.{held}"
    lacking = _lacking(folder, source)
    more = f" and {len(lacking) - _MAX_NAMED} more" if len(lacking) > _MAX_NAMED else ""
    return (
        f"{source.repo} is not completely in the cache: its revision {folder.name} at {folder} lacks "
        f"{', '.join(lacking[:_MAX_NAMED])}{more}."
    )


_MAX_NAMED = 3


def _snapshots(source: HubRepository, cache: Path | None) -> Iterator[Path]:
    """Yield the folders that may be the wanted revision, best first."""
    repository = repository_folder(source, cache)
    named = {file.name: _commit(file) for file in repository.glob("refs/*") if file.is_file()}
    wanted = source.revision or "main"
    yield repository / "snapshots" / (_commit(repository / "refs" / wanted) or wanted)
    if source.revision is not None:
        return
    of_others = {commit for name, commit in named.items() if name != wanted}
    found = [folder for folder in repository.glob("snapshots/*") if folder.is_dir() and folder.name not in of_others]
    yield from sorted(found, key=lambda folder: folder.stat().st_mtime_ns, reverse=True)


def _commit(reference: Path) -> str | None:
    """Read the commit that a file of `refs` names; None if it names none."""
    try:
        commit = reference.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if re.fullmatch(r"[\w.-]+", commit) else None


def _lacking(folder: Path, source: HubRepository) -> list[str]:
    """List the files that a snapshot lacks."""
    family = assumed_family()
    lacking = [name for name in family.config_files if not (folder / name).is_file()]
    for component in family.components:
        inside = folder / component
        names = [file.name for file in inside.iterdir() if file.is_file()] if inside.is_dir() else []
        if not _weights(names, source.variant):
            lacking.append(f"the weights of {component}")
    return lacking + _lacking_of_tokenizers(folder, family)


def _lacking_of_tokenizers(folder: Path, family: Family) -> list[str]:
    """List the vocabularies without merges, and merges without a vocabulary, of which each needs the other."""
    present = family.tokenizer_files(
        file.relative_to(folder).as_posix() for file in folder.glob("*/*") if file.is_file()
    )
    tokenizers = sorted({str(PurePosixPath(name).parent) for name in present})
    return [
        f"{tokenizer}/{name}"
        for tokenizer in tokenizers
        for name, other in (("vocab.json", "merges.txt"), ("merges.txt", "vocab.json"))
        if f"{tokenizer}/{other}" in present and not {f"{tokenizer}/{name}", f"{tokenizer}/tokenizer.json"} & {*present}
    ]


def wanted_files(names: Iterable[str], source: HubRepository) -> list[str]:
    """Select a repository's configs, tokenizers and safetensors weights of each component, the variant's if it has any.

    Raises:
        DownloadFailed: a config is missing, or a component has no such weights.
    """
    names, family = list(names), assumed_family()
    wanted = [name for name in names if name in family.config_files] + family.tokenizer_files(names)
    for component in family.components:
        inside = [PurePosixPath(name).name for name in names if str(PurePosixPath(name).parent) == component]
        chosen = _weights(inside, source.variant)
        if not chosen:
            raise DownloadFailed(_no_weights(source, family, component, inside))
        wanted += [f"{component}/{name}" for name in chosen]
    lacking = [name for name in family.config_files if name not in names]
    if lacking:
        raise DownloadFailed(
            f"{source.repo} has no {lacking[0]}. It must be a repository of {family.title} in the diffusers layout."
        )
    return wanted


def _weights(names: Collection[str], variant: str | None) -> list[str]:
    """Select the weights of one component among the names of its files, with their index; empty if shards are missing."""
    for tag in _tags(names, variant):
        index = [name for name in names if (match := INDEX.fullmatch(name)) and match["variant"] == tag]
        weights = [match for name in sorted(names) if (match := WEIGHTS.fullmatch(name)) and match["variant"] == tag]
        shards = [match for match in weights if match["parts"]]
        if index:
            complete = bool(shards) and len(shards) == int(shards[0]["parts"])
            return index + [shard.string for shard in shards] if complete else []
        whole = [match.string for match in weights if not match["parts"]]
        if whole:
            return whole[:1]
    return []


def _tags(names: Collection[str], variant: str | None) -> list[str | None]:
    """List the variants to look for, the wanted one first; the only one that there is serves without a wanted one."""
    offered = _offered(names)
    only = sorted(offered - {None}, key=str) if variant is None and len(offered - {None}) == 1 else []
    return [*dict.fromkeys((variant, None)), *only]


def _offered(names: Iterable[str]) -> set[str | None]:
    return {match["variant"] for name in names if (match := WEIGHTS.fullmatch(name) or INDEX.fullmatch(name))}


def _no_weights(source: HubRepository, family: Family, component: str, names: Iterable[str]) -> str:
    offered = _offered(names)
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
