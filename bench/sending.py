"""How quickly emails leave that are all due at one moment, against empty activities."""

from bench.crowd import Run
from bench.report import Figure, shares

NAME = "sending"
AIM = 0.5


def figure(ours: Run, floor: Run) -> Figure:
    """Emails a second, from the common moment until the last was accepted by the mail server."""
    ratio = ours.done_per_second / floor.done_per_second
    each, floors = ours.cpu_each(), floor.cpu_each()
    return Figure(
        name=NAME,
        title=f"{ours.number:,} emails due at one moment, by SMTP",
        measured=f"{ours.done_per_second:.0f}/s, {ratio:.2f} of the floor",
        floor=f"{floor.done_per_second:.0f}/s",
        aim=f"{AIM} of the floor",
        reached=ratio >= AIM,
        bound=f"CPU. An email takes {shares(each)}; the floor's completion {shares(floors)}.",
        numbers={
            "per_second": ours.done_per_second,
            "floor_per_second": floor.done_per_second,
            "ratio": ratio,
            **{f"cpu_ms_{name}": ms for name, ms in each.items()},
            **{f"floor_cpu_ms_{name}": ms for name, ms in floors.items()},
        },
    )
