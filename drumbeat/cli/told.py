"""What commands print that decide something: what is in force, and which workflows know it."""

from collections.abc import Awaitable

from drumbeat.actions.asking import Answer
from drumbeat.cli.output import print_json, say


async def tell(text: str, waiting: Awaitable[int], *, json: bool, **values: object) -> None:
    """Say what is in force, wait for the workflows, and say how many have not confirmed it.

    Args:
        text: What people read.
        waiting: Gives how many are left when the wait is over.
        json: Print `values` and that number instead.
        values: What JSON holds.
    """
    if not json:
        say(text)
    left = await waiting
    if json:
        print_json(values | {"not_yet_confirmed": left})
    elif left:
        say(f"recorded, not yet confirmed by {left}")


def tell_answer(text: str, answer: Answer, *, json: bool, **values: object) -> None:
    """Say what a workflow has carried out, and whether the tables show it yet."""
    is_shown = answer is Answer.DONE
    if json:
        print_json(values | {"shown": is_shown})
    else:
        say(text if is_shown else f"recorded, not yet shown: {text}")
