"""What the bench says: progress while it runs, then a table and JSON."""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

Say = Callable[[str], None]
"""Shows one line of progress."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, beside the floor and the aim."""

    name: str
    """Also what `--only` calls it."""
    title: str
    measured: str
    floor: str
    aim: str
    reached: bool | None
    """None: there is no aim, the figure is printed to be looked at."""
    bound: str
    """What bounds it, in one sentence."""
    numbers: dict[str, float] = field(default_factory=dict)
    """The same, for programs."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below or at which that share of the values lies (nearest rank).

    >>> percentile([5, 1, 4, 2, 3], 50)
    3

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[min(max(int(rank), 1), len(ordered)) - 1]


def shares(cpu: Mapping[str, float]) -> str:
    """CPU milliseconds by process, in words; what is next to nothing is left out.

    >>> shares({"worker": 12.34, "mail": 2, "bench": 0.04})
    '12.3 ms in worker, 2.0 ms in mail'
    """
    return ", ".join(f"{ms:.1f} ms in {name}" for name, ms in cpu.items() if ms >= 0.05)


def table(figures: Sequence[Figure]) -> Table:
    """The figures as a table for the terminal."""
    shown = Table(title="Drumbeat against the floor", show_lines=True)
    for heading in ("figure", "measured", "floor", "aim", ""):
        shown.add_column(heading, no_wrap=heading == "", ratio=None if heading == "" else 1)
    for figure in figures:
        mark = {True: "ok", False: "missed", None: ""}[figure.reached]
        shown.add_row(figure.title, figure.measured, figure.floor, figure.aim, mark)
    return shown


def bounds(figures: Sequence[Figure]) -> list[str]:
    """What bounds each figure, a line each."""
    return [f"{figure.title}: {figure.bound}" for figure in figures]


def as_json(figures: Sequence[Figure], *, people: int, seconds: float, at: datetime) -> str:
    """The figures for programs, with the machine that they were measured on."""
    content = {
        "at": at.astimezone(UTC).isoformat(),
        "seconds": round(seconds, 1),
        "people": people,
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "python": platform.python_version(),
        },
        "figures": [asdict(figure) for figure in figures],
    }
    return json.dumps(content, indent=2)


def write_json(path: Path, content: str) -> None:
    """Write the JSON; folders that are missing are made.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content + "\n")


def show(figures: Sequence[Figure]) -> None:
    """Print the table, and what bounds each figure."""
    console = Console()
    console.print(table(figures))
    console.print("What bounds them", style="bold")
    for line in bounds(figures):
        console.print(f"- {line}", highlight=False)


@contextmanager
def phase(say: Say, what: str) -> Iterator[None]:
    """Say what runs now, and how long it took."""
    say(f"{what} …")
    began = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - began:.1f} s")
