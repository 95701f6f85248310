"""Downloads repositories from the Hugging Face Hub, through its own client, into its own cache."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import structlog

from ..domain.errors import DownloadFailed
from ..domain.model import HubRepository
from ..domain.ports import LoadProgress, OnLoad

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

_log = structlog.get_logger()
_COMPONENTS = frozenset({"unet", "vae", "text_encoder", "text_encoder_2"})
_CONFIG_FOLDERS = _COMPONENTS | {"tokenizer", "tokenizer_2", "scheduler", ""}
_CONFIG_SUFFIXES = frozenset({".json", ".txt"})
_REPORT_EVERY_S = 0.5
_LOG_EVERY_PERCENT = 10


class HubFetcher:
    """Makes sure that the files of a repository are on disk. Blocks; call it from a loader thread.

    The client takes its token (HF_TOKEN) and its endpoint (HF_ENDPOINT) from the environment.
    """

    def __init__(self, *, cache: Path | None, offline: bool) -> None:
        self._cache = cache
        self._offline = offline

    def __call__(self, source: HubRepository, on_load: OnLoad) -> Path:
        """The folder of a repository's files; a complete one in the cache costs no request.

        Raises:
            DownloadFailed: saying what to do next.
        """
        cached = cached_snapshot(source, self._cache)
        if cached is not None:
            return cached
        if self._offline:
            raise DownloadFailed(f"{source.repo} is not in the cache, and hub.offline forbids to download it.")
        with _told_apart(source):
            return self._download(source, on_load)

    def _download(self, source: HubRepository, on_load: OnLoad) -> Path:
        from huggingface_hub import HfApi, snapshot_download  # here, because it takes a while to import
        from huggingface_hub.hf_api import RepoFile

        commit = HfApi().model_info(source.repo, revision=source.revision).sha
        tree = HfApi().list_repo_tree(source.repo, recursive=True, revision=commit)
        wanted = wanted_files([file for file in tree if isinstance(file, RepoFile)], source)
        total = sum(file.size for file in wanted)
        _log.info("download_started", repo=source.repo, files=len(wanted), nbytes=total)
        begun = time.monotonic()
        with _reporting(_blobs(source, self._cache), total, on_load, source.repo):
            folder = snapshot_download(
                source.repo,
                revision=source.revision,
                cache_dir=self._cache,
                allow_patterns=[file.path for file in wanted],
                tqdm_class=_silent_bar(),
            )
        _log.info("download_done", repo=source.repo, nbytes=total, seconds=round(time.monotonic() - begun, 1))
        return Path(folder)


def cached_snapshot(source: HubRepository, cache: Path | None) -> Path | None:
    """The folder of a repository that is in the cache with all its weights; None otherwise. Makes no request."""
    repository = _repository_folder(source, cache)
    revision = source.revision or "main"
    reference = repository / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    folder = repository / "snapshots" / commit
    if not (folder / "model_index.json").is_file():
        return None
    complete = all(any((folder / component).glob("*.safetensors")) for component in _COMPONENTS)
    downloading = any((repository / "blobs").glob("*.incomplete"))
    return folder if complete and not downloading else None


def wanted_files(tree: Iterable["RepoFile"], source: HubRepository) -> list["RepoFile"]:
    """Configs, tokenizers and, for each component, the variant's weights, or the plain ones where it has none.

    Raises:
        DownloadFailed: a component has no safetensors weights.
    """
    files = [file for file in tree if len(PurePosixPath(file.path).parts) <= 2]
    wanted = [
        file
        for file in files
        if _folder(file) in _CONFIG_FOLDERS and PurePosixPath(file.path).suffix in _CONFIG_SUFFIXES
    ]
    for component in sorted(_COMPONENTS):
        weights = [file for file in files if _folder(file) == component and file.path.endswith(".safetensors")]
        chosen = [file for file in weights if _variant(file) == source.variant] or [
            file for file in weights if _variant(file) is None
        ]
        if not chosen:
            offered = ", ".join(sorted({_variant(file) or "plain" for file in weights})) or "none"
            raise DownloadFailed(
                f"{source.repo} has no safetensors weights of its {component} in the variant {source.variant!r} "
                f"(offered: {offered}). Set `variant` in the settings accordingly; pickles are never loaded."
            )
        wanted += chosen
    return wanted


def _folder(file: "RepoFile") -> str:
    return PurePosixPath(file.path).parent.as_posix().removeprefix(".")


def _variant(file: "RepoFile") -> str | None:
    """`fp16` of `model.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors`; None of plain names."""
    stem = PurePosixPath(file.path).name.removesuffix(".safetensors")
    return stem.split(".", 1)[1].split("-")[0] if "." in stem else None


def _repository_folder(source: HubRepository, cache: Path | None) -> Path:
    if cache is None:
        from huggingface_hub import constants  # here, because it takes a while to import

        cache = Path(constants.HF_HUB_CACHE)
    return cache / f"models--{source.repo.replace('/', '--')}"


def _blobs(source: HubRepository, cache: Path | None) -> Path:
    return _repository_folder(source, cache) / "blobs"


@contextmanager
def _reporting(blobs: Path, total: int, on_load: OnLoad, repo: str) -> Iterator[None]:
    """Report what has arrived on disk, finished and unfinished, until the block ends."""
    ended = threading.Event()
    before = _nbytes_in(blobs)

    def watch() -> None:
        logged = 0
        while not ended.wait(_REPORT_EVERY_S):
            done = min(_nbytes_in(blobs) - before, total)
            on_load(LoadProgress(phase="download", done_nbytes=done, total_nbytes=total))
            percent = 100 * done // max(total, 1)
            if percent >= logged + _LOG_EVERY_PERCENT:
                logged = percent
                _log.info("download_progress", repo=repo, percent=percent, nbytes=done)

    on_load(LoadProgress(phase="download", done_nbytes=0, total_nbytes=total))
    watcher = threading.Thread(target=watch, name="download progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    on_load(LoadProgress(phase="download", done_nbytes=total, total_nbytes=total))


def _nbytes_in(folder: Path) -> int:
    total = 0
    for file in folder.glob("*"):
        try:
            total += file.stat().st_size
        except OSError:  # renamed meanwhile
            continue
    return total


def _silent_bar() -> type:
    from tqdm.auto import tqdm

    class Silent(tqdm):  # type: ignore[type-arg] - generic in its stubs only
        def __init__(self, *args: object, **kwargs: object) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})

    return Silent


@contextmanager
def _told_apart(source: HubRepository) -> Iterator[None]:
    """Turn the client's errors into ours, each with what to do next."""
    from huggingface_hub import errors

    repo, revision = source.repo, source.revision or "main"
    try:
        yield
    except errors.GatedRepoError as error:
        raise DownloadFailed(
            f"{repo} is gated: accept its terms on the Hub, and set HF_TOKEN to a token of that account."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DownloadFailed(
            f"{repo} has no revision {revision!r}. Set `revision` in the settings accordingly."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadFailed(
            f"There is no repository {repo}, or it is private. Check `repo` in the settings; for a private one set HF_TOKEN."
        ) from error
    except errors.HfHubHTTPError as error:
        raise DownloadFailed(f"The Hub refused to deliver {repo}: {error}. Try again later.") from error
    except OSError as error:
        raise DownloadFailed(
            f"{repo} could not be downloaded ({type(error).__name__}: {error}). Check the network and the disk's free space, "
            "or set hub.offline and download it elsewhere."
        ) from error
    except DownloadFailed:
        raise
    except Exception as error:
        if "Connect" not in type(error).__name__ and "Timeout" not in type(error).__name__:
            raise
        raise DownloadFailed(f"The Hub cannot be reached ({type(error).__name__}). Check the network.") from error
