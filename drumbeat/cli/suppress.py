"""`suppress`: addresses that get no email, whatever the campaign."""

from typing import Annotated

from cyclopts import App, Parameter

from drumbeat.actions import suppressing
from drumbeat.actions.suppressing import Suppressed
from drumbeat.actions.telling import unconfirmed
from drumbeat.cli.context import Context
from drumbeat.cli.output import print_json, print_table, say
from drumbeat.cli.parameters import As, Json, Reason, example
from drumbeat.store.suppressions import Kind

commands = App(name="suppress", help="Addresses that get no email, whatever the campaign.")

Address = Annotated[str, Parameter(help="An email address.")]
WhyLifted = Annotated[
    str, Parameter(name="--reason", help="Why; kept and shown.", allow_leading_hyphen=True)
]


@commands.command(
    help_epilogue=example('starter.py suppress add grace@example.org --reason "asked by phone"')
)
async def add(
    address: Address, /, *, reason: Reason = None, acting: As = None, json: Json = False
) -> None:
    """Send nothing more to an address, and end its running enrollments as removed."""
    async with Context() as context:
        desk = await context.desk(acting)
        done = await suppressing.suppress_address(desk, address, reason)
        waiting = await unconfirmed(desk.store, done.told)
    tell("suppressed", done, waiting, json=json)


@commands.command(
    name="lift",
    help_epilogue=example('starter.py suppress lift grace@example.org --reason "asked to return"'),
)
async def lift_address(
    address: Address, /, *, reason: WhyLifted, acting: As = None, json: Json = False
) -> None:
    """Let email go to an address again. What has ended stays ended: enroll with --again."""
    await lift("address", address, reason, acting, json=json)


@commands.command(name="list", help_epilogue=example("starter.py suppress list --json"))
async def list_addresses(*, json: Json = False) -> None:
    """The addresses that get no email."""
    await list_standing("address", json=json)


def tell(state: str, done: Suppressed, waiting: int, *, json: bool) -> None:
    """Print what has been done, and whether the workflows know it yet."""
    if json:
        print_json(
            {
                "value": done.value,
                "new": done.is_new,
                "ending": done.told.enrollments,
                "not_yet_confirmed": waiting,
            }
        )
        return
    count = done.told.enrollments
    line = f"{done.value} is {state if done.is_new else f'{state} already'}"
    running = "1 running enrollment" if count == 1 else f"{count} running enrollments"
    if not count:
        line += "; no enrollment was running"
    elif not waiting:
        line += f"; {running} ended"
    else:
        line += f"; {running} to end: recorded, not yet confirmed by {waiting}"
    say(line)


async def lift(kind: Kind, value: str, reason: str, acting: str | None, *, json: bool) -> None:
    """Lift a suppression or a block, and say so."""
    async with Context() as context:
        lifted = await suppressing.lift(await context.desk(acting), kind, value, reason)
    if json:
        print_json({"value": lifted, "lifted": True})
    else:
        say(f"{lifted} may get email again; what has ended stays ended")


async def list_standing(kind: Kind, *, json: bool) -> None:
    """Print what stands."""
    async with Context() as context:
        rows = await suppressing.standing(await context.store(), kind)
    if json:
        print_json(
            [
                {
                    kind: row.value,
                    "source": row.source,
                    "reason": row.reason,
                    "who": row.who,
                    "at": row.at,
                }
                for row in rows
            ]
        )
        return
    print_table(
        (kind.upper(), "SINCE (UTC)", "SOURCE", "BY", "REASON"),
        ((r.value, f"{r.at:%Y-%m-%d %H:%M}", r.source, r.who, r.reason) for r in rows),
    )
