"""Progress bars for downloads, loading and steps; silent where nobody looks."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..domain.jobs import OnProgress, StepProgress
from ..domain.ports import LoadProgress

_TITLES = {"download": "Downloading", "read": "Loading", "place": "Moving to the device"}


@contextmanager
def progress_shown() -> Iterator[OnProgress]:
    """Bars on standard error while the block runs; nothing where that is no terminal."""
    from rich.console import Console  # here, because `--help` need not wait for it
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description:>20}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def show(progress: LoadProgress | StepProgress) -> None:
        if isinstance(progress, StepProgress):
            title, done, total = "Denoising", progress.done, progress.total
        else:
            title, done, total = (
                _TITLES.get(progress.phase, progress.phase),
                progress.done_nbytes,
                progress.total_nbytes,
            )
        if title not in tasks:
            tasks[title] = bars.add_task(title, total=total)
        bars.update(tasks[title], completed=done, total=total)

    with bars:
        yield show
