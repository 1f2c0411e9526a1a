"""How quickly people are enrolled from a CSV file, against bare starts."""

from bench.crowd import AT_ONCE, Run
from bench.report import Figure

NAME = "enrolling"
AIM = 0.6


def figure(ours: Run, floor: Run) -> Figure:
    """Enrollments started a second; reading the file and writing the tables are part of it."""
    ratio = ours.starts_per_second / floor.starts_per_second
    return Figure(
        name=NAME,
        title=f"enrollments started from CSV, {AT_ONCE} at once",
        measured=f"{ours.starts_per_second:.0f}/s, {ratio:.2f} of the floor",
        floor=f"{floor.starts_per_second:.0f}/s",
        aim=f"{AIM} of the floor",
        reached=ratio >= AIM,
        bound=(
            "The server's writes for each start, and the worker's first task of each workflow,"
            " which runs at the same time."
        ),
        numbers={
            "per_second": ours.starts_per_second,
            "floor_per_second": floor.starts_per_second,
            "ratio": ratio,
        },
    )
