"""Tables on a terminal, and lines for programs."""

from collections.abc import Iterable, Sequence

_UNFOLDED_CHARS = 10_000


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; a line for each row if standard output is no terminal, for grep."""
    from rich.console import Console  # here, because `--help` need not wait for it
    from rich.table import Table

    console = Console(markup=False, emoji=False, highlight=False)  # paths and reasons are no markup
    if not console.is_terminal:
        console.width = _UNFOLDED_CHARS
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
