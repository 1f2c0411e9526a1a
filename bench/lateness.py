"""How late each email leaves when all are due at one moment."""

from bench.crowd import Run
from bench.report import Figure, percentile

NAME = "lateness"


def figure(ours: Run, floor: Run) -> Figure:
    """The middle of them, and all but one in a hundred."""
    p50, p99 = percentile(ours.late, 50), percentile(ours.late, 99)
    floor_p50, floor_p99 = percentile(floor.late, 50), percentile(floor.late, 99)
    return Figure(
        name=NAME,
        title="lateness of these, p50 and p99",
        measured=f"{p50:.1f} s, {p99:.1f} s",
        floor=f"{floor_p50:.1f} s, {floor_p99:.1f} s",
        aim="",
        reached=None,
        bound="The rate above: all are due at once, and each waits for those before it.",
        numbers={"p50": p50, "p99": p99, "floor_p50": floor_p50, "floor_p99": floor_p99},
    )
