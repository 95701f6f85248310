"""Progress bars for downloads, loading and steps; silent where stderr is no terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..domain.models.components import LoadProgress
from ..domain.requests.progress import OnProgress, StepProgress
from ..domain.requests.progress import Progress as Made

_TITLES = {"download": "Downloading", "read": "Loading", "place": "Moving to the device"}


@contextmanager
def progress_shown() -> Iterator[OnProgress]:
    """Show progress bars on standard error while the block runs; nothing if it is no terminal.

    The function that it yields may be called from any thread, one at a time.
    """
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
    starting = bars.add_task("Starting", total=None)  # torch is imported: seconds in which nothing can be counted
    tasks: dict[str, TaskID] = {}

    def show(made: Made) -> None:
        counted = _counted(made)
        if counted is None:
            return
        title, done, total = counted
        if title not in tasks:
            tasks[title] = bars.add_task(title, total=total)
            bars.update(starting, visible=False)
        bars.update(tasks[title], completed=done, total=total)

    with bars:
        yield show


def _counted(progress: Made) -> tuple[str, int, int] | None:
    """Return a bar's title, its count and its total; None for events without a bar."""
    match progress:
        case StepProgress(done=done, total=total):
            return "Denoising", done, total
        case LoadProgress(phase=phase, done_nbytes=done, total_nbytes=total):
            return _TITLES.get(phase, phase), done, total
        case _:
            return None
