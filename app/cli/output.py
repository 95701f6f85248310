"""Where `generate` puts its images: what is wrong with that place is said before any work is done."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from ..domain.generator import GeneratedImage
from ..domain.requests.parameters import GenerationParameters
from .failures import Failure

_FORMATS = {"": "png", ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file, a series of files named after their seeds, or standard output."""

    path: Path
    """`-` stands for standard output."""
    force: bool
    """Whether files may be overwritten."""

    def format(self) -> str:
        """Return the image format of the file's suffix.

        Raises:
            click.UsageError: it names none.
        """
        suffix = self.path.suffix.lower()
        if suffix not in _FORMATS:
            known = ", ".join(filter(None, _FORMATS))
            raise click.UsageError(f"{self.path}: {suffix} is no known format. Use {known}, or add --output-format.")
        return _FORMATS[suffix]

    def check(self, parameters: GenerationParameters) -> None:
        """Refuse what could not be written after minutes of work.

        Raises:
            click.UsageError: no such folder, a file that exists, or several images for standard output.
        """
        if self._is_stdout() and parameters.n > 1:
            raise click.UsageError("Standard output takes one image: leave out --n, or name a file with -o.")
        self._check(self._paths(parameters))

    def check_free(self) -> None:
        """Refuse what could not be written after minutes of work, for a single image.

        Raises:
            click.UsageError: no such folder, or a file that exists.
        """
        self._check([self.path])

    def _check(self, paths: Sequence[Path]) -> None:
        if self._is_stdout():
            return
        if not self.path.parent.is_dir():
            raise click.UsageError(f"There is no folder {self.path.parent}.")
        for path in paths:
            if path.is_dir():
                raise click.UsageError(f"{path} is a folder. Name a file in it with -o.")
            if path.exists() and not self.force:
                raise click.UsageError(f"{path} exists. Give another name with -o, or overwrite it with --force.")

    def write(self, image: GeneratedImage, *, several: bool) -> str:
        """Write one image; returns the name of what holds it now.

        Raises:
            Failure: the system refuses.
        """
        if self._is_stdout():
            sys.stdout.buffer.write(image.data)
            sys.stdout.buffer.flush()  # a reader that has left is noticed here, and not at the end of the interpreter
            return "standard output"
        path = self._numbered(image.seed) if several else self.path
        try:
            with path.open("wb" if self.force else "xb") as file:
                file.write(image.data)
        except OSError as error:
            raise Failure(f"{path} cannot be written: {error.strerror}.") from error
        return str(path)

    def _is_stdout(self) -> bool:
        return str(self.path) == "-"

    def _paths(self, parameters: GenerationParameters) -> list[Path]:
        """Return the files that will be written, as far as known in advance; random seeds are not."""
        if parameters.n == 1:
            return [self.path]
        if parameters.seed in (None, -1):
            return []
        return [self._numbered(parameters.seed + index) for index in range(parameters.n)]

    def _numbered(self, seed: int) -> Path:
        return self.path.with_stem(f"{self.path.stem}-{seed}")
