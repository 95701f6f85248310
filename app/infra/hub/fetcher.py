"""Downloads repositories from the Hugging Face Hub, through its own client, into its own cache.

Nothing here imports huggingface_hub before it is needed, and nothing changes its process-wide switches.
"""

import errno
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...domain.errors import Cancelled, DownloadFailed
from ...domain.models.components import LoadProgress, OnLoad
from ...domain.models.spec import HubRepository
from ...domain.units import format_bytes
from ...logs import get_logger
from .resumable import ResumableDownloads, resumable_files
from .snapshots import cached_snapshot, describe_cached, repository_folder, wanted_files

_log = get_logger(__name__)


_LISTING_TIMEOUT_S = 30.0
_LARGE = ".safetensors"
"""End of the names of weights."""


class HubFetcher:
    """Makes sure that the files of a repository are on disk. Blocks; call it from a loader thread.

    The client takes its token (HF_TOKEN) from the environment, and its endpoint (HF_ENDPOINT) if none is given.
    """

    def __init__(self, *, cache: Path | None, offline: bool, endpoint: str | None = None) -> None:
        self._cache = cache
        self._offline = offline
        self._endpoint = endpoint
        self._closed = threading.Event()

    def __call__(self, source: HubRepository, on_load: OnLoad) -> Path:
        """Return the folder of a repository's files; a complete one in the cache costs no request.

        `on_load` receives the progress from the client's threads, one call at a time.

        Raises:
            DownloadFailed: saying what to do next.
            Cancelled: `close` was called.
        """
        cached = cached_snapshot(source, self._cache)
        if cached is not None:
            return cached
        if self._offline:
            raise DownloadFailed(
                f"{describe_cached(source, self._cache)} hub.offline forbids to download it. Turn hub.offline off, or fill "
                "the cache on another machine and copy it here."
            )
        if self._closed.is_set():
            raise Cancelled(f"{source.repo} is not downloaded any more: the server is going down.")
        with _explained(source):
            return self._download(source, on_load)

    def close(self) -> None:
        """Stop downloads at the next piece that arrives, and refuse new ones. Callable from any thread.

        Without it the process would stay until the last gigabyte has come: Python waits for its worker threads.
        """
        self._closed.set()

    def _download(self, source: HubRepository, on_load: OnLoad) -> Path:
        wanted = self._listed(source)
        resumable = resumable_files(
            source.repo, wanted.snapshot.name, wanted.lacking_weights, blobs=wanted.blobs, endpoint=self._endpoint
        )
        missing = wanted.total_nbytes - wanted.present_nbytes
        _require_space(wanted.snapshot, missing - sum(file.present_nbytes for file in resumable))
        progress = _Progress(source.repo, wanted.present_nbytes, wanted.total_nbytes, on_load, self._closed)
        with _timed(source.repo, len(wanted.nbytes), missing):
            # Weights come last and from the same commit: a snapshot that has them has all other files of the repository, too.
            folder = self._fetch(source.repo, source.revision, wanted.small_files, progress)
            ResumableDownloads(self._closed, progress.add, _silent_bar(lambda _: None)).run(resumable)
            self._fetch(source.repo, folder.name, list(wanted.nbytes), progress)
        progress.finish()
        return folder

    def _fetch(self, repo: str, revision: str | None, names: list[str], progress: "_Progress") -> Path:
        """Fetch those of the named files that the cache lacks; return the folder of the snapshot, whose name is the commit."""
        from huggingface_hub import snapshot_download  # here, because it takes a while to import

        folder = snapshot_download(
            repo,
            revision=revision,
            cache_dir=self._cache,
            allow_patterns=names,
            endpoint=self._endpoint,
            tqdm_class=_silent_bar(progress.reach),
        )
        progress.settle()
        return Path(folder)

    def _listed(self, source: HubRepository) -> "_Wanted":
        from huggingface_hub import HfApi

        info = HfApi(endpoint=self._endpoint).model_info(
            source.repo, revision=source.revision, files_metadata=True, timeout=_LISTING_TIMEOUT_S
        )
        nbytes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        return _Wanted(
            snapshot=repository_folder(source, self._cache) / "snapshots" / (info.sha or ""),
            nbytes={name: nbytes[name] for name in wanted_files(nbytes, source)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The wanted files of a repository, as the Hub lists them, and where the cache has them."""

    snapshot: Path
    """Folder of the commit."""
    nbytes: Mapping[str, int]
    """Size of each file."""

    @property
    def blobs(self) -> Path:
        """The folder of all contents."""
        return self.snapshot.parents[1] / "blobs"

    @property
    def total_nbytes(self) -> int:
        """Bytes of all files."""
        return sum(self.nbytes.values())

    @property
    def present_nbytes(self) -> int:
        """Bytes of the files that the cache has."""
        return sum(nbytes for name, nbytes in self.nbytes.items() if (self.snapshot / name).is_file())

    @property
    def lacking_weights(self) -> list[str]:
        """The large files that the cache lacks."""
        return [name for name in self.nbytes if name.endswith(_LARGE) and not (self.snapshot / name).is_file()]

    @property
    def small_files(self) -> list[str]:
        """Configs, tokenizers and indices."""
        return [name for name in self.nbytes if not name.endswith(_LARGE)]


def _require_space(folder: Path, nbytes: int) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < nbytes:
        raise DownloadFailed(
            f"The download needs {format_bytes(nbytes)}, and the disk of {existing} has {format_bytes(free)} free. "
            "Free some, or set hub.cache to a folder on a larger disk."
        )


@contextmanager
def _timed(repo: str, files: int, nbytes: int) -> Iterator[None]:
    """Log the start of a download, and its end if it ends well."""
    _log.info("download_started", repo=repo, files=files, nbytes=nbytes)
    begun = time.monotonic()
    yield
    _log.info("download_done", repo=repo, nbytes=nbytes, seconds=round(time.monotonic() - begun, 1))


class _Progress:
    """Counts received bytes. The client's threads report to it side by side."""

    def __init__(self, repo: str, present: int, total: int, on_load: OnLoad, closed: threading.Event) -> None:
        self._repo = repo
        self._closed = closed
        self._present = present
        self._total = total
        self._on_load = on_load
        self._done = present
        self._lock = threading.Lock()  # keeps reports in order, and what listens single-threaded
        self._tell()

    def reach(self, received: int) -> None:
        """Note the bytes that the client has received in a call. Fewer than before, after a retry, are ignored.

        Raises:
            Cancelled: the fetcher was closed; the client's thread ends with it.
        """
        if self._closed.is_set():
            raise Cancelled(f"The download of {self._repo} was stopped.")
        with self._lock:
            done = min(self._present + received, self._total)
            if done > self._done:
                self._done = done
                self._tell()

    def add(self, nbytes: int) -> None:
        """Note bytes that have come without the client's count."""
        with self._lock:
            self._present += nbytes
        self.reach(0)

    def settle(self) -> None:
        """Note that a call of the client has ended: it counts the bytes of the next one from 0."""
        with self._lock:
            self._present = self._done

    def finish(self) -> None:
        """Note that all bytes are here: files that the cache had under another name are never received."""
        self.reach(self._total)

    def _tell(self) -> None:
        self._on_load(LoadProgress(phase="download", done_nbytes=self._done, total_nbytes=self._total))


def _silent_bar(reach: Callable[[int], None]) -> type[Any]:
    """Build a progress bar for the client that shows nothing and reports the bytes that it has counted.

    The client has two bars of bytes, received and written, and one of files; the larger count of bytes is the news.
    """
    from tqdm.auto import tqdm  # huggingface_hub brings it, and takes subclasses of it only

    counting = threading.Lock()

    class Silent(tqdm):  # pyright: ignore[reportMissingTypeArgument, reportUntypedBaseClass] - generic in its stubs only
        monitor_interval = 0  # or else tqdm starts a thread that outlives the download

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            self._counts_bytes = kwargs.get("unit") == "B"
            self._counted = 0
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            if self._counts_bytes:
                with counting:
                    self._counted += int(n or 0)
                    counted = self._counted
                reach(counted)

    return Silent


@contextmanager
def _explained(source: HubRepository) -> Iterator[None]:
    """Turn the client's errors into ours, each with what to do next."""
    from huggingface_hub import errors

    http_error = errors.HTTPError  # pyright: ignore[reportPrivateImportUsage] - of httpx or httpx2, as the client has it
    try:
        yield
    except errors.HFValidationError as error:
        raise DownloadFailed(f"{source.repo!r} does not name a repository. Correct `repo` in the settings.") from error
    except (http_error, OSError) as error:
        # The client wraps what kept it from the Hub into an error about the cache.
        hidden = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else None
        raise DownloadFailed(_reason(hidden or error, source)) from error
    except RuntimeError as error:  # of hf_xet, which has no types of its own
        raise DownloadFailed(
            f"The download of {source.repo} broke off: {error}. Try again; finished files are kept."
        ) from error


def _reason(error: BaseException, source: HubRepository) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(error, int(error.response.status_code), source)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{source.repo} is not in the cache, and HF_HUB_OFFLINE forbids to download it. Unset HF_HUB_OFFLINE."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full. Free some space for {source.repo}, or set hub.cache to a folder on a larger disk."
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"The cache cannot be written: {error}. Correct its permissions, or set hub.cache to another folder."
    return (
        f"The Hub could not be reached for {source.repo} ({type(error).__name__}: {error}). Check the network and "
        "HF_ENDPOINT and try again, or fill the cache on another machine and copy it here."
    )


def _refusal(error: BaseException, status: int, source: HubRepository) -> str:
    from huggingface_hub import errors

    repo = source.repo
    if isinstance(error, errors.GatedRepoError):
        return f"{repo} is gated. Accept its terms on its page of the Hub, and set HF_TOKEN to a token of that account."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no revision {source.revision or 'main'!r}. Correct `revision` in the settings."
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"There is no repository {repo}, or it is private. Correct `repo`, or set HF_TOKEN to a token that may read it."
    if status in (401, 403):
        return f"The Hub denies access to {repo} (status {status}). Set HF_TOKEN to a valid token that may read it."
    return f"The Hub answered with status {status} for {repo}. Try again later."
