"""What commands print: results on standard output, words about the work on standard error."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text


class ReaderGone(Exception):
    """Whoever read standard output has closed it, as `head` does."""


def say(text: str = "") -> None:
    """Print one line, or several, on standard output.

    Raises:
        ReaderGone: Nobody reads it any more.
    """
    try:
        print(text)
    except BrokenPipeError:
        _nobody_listens()


def print_json(value: object) -> None:
    """Print one object or list as JSON; moments become ISO 8601 in UTC, enums their slugs.

    Raises:
        ReaderGone: Nobody reads it any more.
    """
    say(json.dumps(to_jsonable_python(value), ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their columns' names; None stays empty.

    A narrow terminal breaks what does not fit, but for the first column: an id or an address is
    copied from there into the next command.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(Text(column), overflow="fold", no_wrap=place == 0)
    for row in rows:
        # As Text: what people typed may look like rich's markup.
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    # Where the output is no terminal, lines are for programs: as long as they are.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    with console.capture() as captured:
        console.print(table)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))


def complain(line: str) -> None:
    """Print a line on standard error; where that is closed, there is nobody to be told."""
    try:
        print(line, file=sys.stderr, flush=True)
    except BrokenPipeError:
        return


def progress() -> Progress:
    """A progress bar on standard error, gone when it is done; nothing where that is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def flush() -> None:
    """Bring what was printed to its reader.

    Raises:
        ReaderGone: Nobody reads it any more.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _nobody_listens()
    sys.stderr.flush()


def _nobody_listens() -> NoReturn:
    raise ReaderGone from None
