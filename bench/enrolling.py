"""How quickly people are enrolled from a CSV file, against bare starts."""

from bench.crowd import AT_ONCE, Run
from bench.report import Figure, shares

NAME = "enrolling"
AIM = 0.6


def figure(ours: Run, floor: Run) -> Figure:
    """Enrollments started a second; reading the file and writing the tables are part of it."""
    ratio = ours.starts_per_second / floor.starts_per_second
    each, floors = ours.start_cpu_each(), floor.start_cpu_each()
    return Figure(
        name=NAME,
        title=f"enrollments started from CSV, {AT_ONCE} at once",
        measured=f"{ours.starts_per_second:.0f}/s, {ratio:.2f} of the floor",
        floor=f"{floor.starts_per_second:.0f}/s",
        aim=f"{AIM} of the floor",
        reached=ratio >= AIM,
        bound=(
            "CPU, of the worker too, which at the same time carries out each workflow's first"
            f" task. An enrollment takes {shares(each)}; the floor's start {shares(floors)}."
        ),
        numbers={
            "per_second": ours.starts_per_second,
            "floor_per_second": floor.starts_per_second,
            "ratio": ratio,
            **{f"cpu_ms_{name}": ms for name, ms in each.items()},
            **{f"floor_cpu_ms_{name}": ms for name, ms in floors.items()},
        },
    )
