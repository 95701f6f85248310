"""Looks up repositories in the cache of the Hugging Face client, without a request."""

from contextlib import suppress
from pathlib import Path

from ..domain.checkpoint import NotServable
from ..domain.key_tensors import COMPONENTS
from ..domain.model import HubRepository
from .folder import watched_files
from .weight_files import weight_files

_DEFAULT_REVISION = "main"
_TOKENIZER_FILES = ("vocab.json", "tokenizer.json")


def cached_snapshot(source: HubRepository, cache: Path | None) -> Path | None:
    """The folder of a repository that is in the cache with all that a model needs; None otherwise.

    Args:
        source: the repository.
        cache: where the client keeps its files; None for its own default.
    """
    folder = snapshot_folder(source, cache)
    return folder if folder is not None and _is_complete(folder, source.variant) else None


def watched_in_cache(source: HubRepository, cache: Path | None) -> tuple[Path, ...]:
    """Everything whose change may change what `cached_snapshot` says."""
    repository = repository_folder(source, cache)
    folder = snapshot_folder(source, cache)
    reference = repository / "refs" / (source.revision or _DEFAULT_REVISION)
    contents = (folder, *watched_files(folder)) if folder is not None else ()
    return (repository / "snapshots", reference, *contents)


def snapshot_folder(source: HubRepository, cache: Path | None) -> Path | None:
    """The folder of a repository's revision, complete or not; None where there is none."""
    repository = repository_folder(source, cache)
    revision = source.revision or _DEFAULT_REVISION
    with suppress(OSError):  # where there is no such file, it is a commit, or not in the cache
        revision = (repository / "refs" / revision).read_text(encoding="utf-8").strip()
    folder = repository / "snapshots" / revision
    return folder if folder.is_dir() else None


def repository_folder(source: HubRepository, cache: Path | None) -> Path:
    """Where the client keeps all revisions of a repository."""
    if cache is None:
        from huggingface_hub import constants  # here, because it takes a while to import

        cache = Path(constants.HF_HUB_CACHE)
    return cache / f"models--{source.repo.replace('/', '--')}"


def _is_complete(folder: Path, variant: str | None) -> bool:
    """The client links a file into the snapshot only after all of it has arrived."""
    configs = ["model_index.json", "scheduler/scheduler_config.json"]
    configs += [f"{component}/config.json" for component in COMPONENTS]
    if not all((folder / name).is_file() for name in configs):
        return False
    for tokenizer in ("tokenizer", "tokenizer_2"):
        if not any((folder / tokenizer / name).is_file() for name in _TOKENIZER_FILES):
            return False
    try:
        return all(weight_files(folder / component, variant) for component in COMPONENTS)
    except NotServable:
        return False
