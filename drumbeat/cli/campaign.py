"""`campaign`: all people of a campaign, with counts per step."""

from typing import Annotated, Any

from cyclopts import App, Parameter
from pydantic_core import to_jsonable_python

from drumbeat.actions import campaigns
from drumbeat.actions.campaigns import CampaignShown
from drumbeat.actions.desk import moment
from drumbeat.actions.telling import Told, not_ended, unconfirmed
from drumbeat.cli.context import Context
from drumbeat.cli.output import print_json, print_table, say
from drumbeat.cli.parameters import As, Json, Reason, Until, example
from drumbeat.cli.told import tell

commands = App(name="campaign", help="All people of a campaign, with counts per step.")

Slug = Annotated[str, Parameter(help="The campaign's slug.")]

_FIGURES = (
    "waiting",
    "due",
    "sent",
    "opened",
    "clicked",
    "replied",
    "bounced",
    "unsubscribed",
    "skipped",
    "done",
)


@commands.command(name="list", help_epilogue=example("starter.py campaign list"))
async def list_campaigns(
    *,
    archived: Annotated[
        bool, Parameter(name="--archived", help="Also those that are archived.")
    ] = False,
    json: Json = False,
) -> None:
    """All campaigns, by category, with how many people run and how many have ended."""
    async with Context() as context:
        store = await context.store()
        async with store.read() as tx:
            found = await campaigns.every(tx, await store.now(tx))
    shown = [each for each in found if archived or each.archived_at is None]
    if json:
        print_json([_line_json(each) for each in shown])
        return
    rows = [
        (
            each.category,
            each.slug,
            each.name,
            each.enrolled,
            each.running,
            sum(each.ended.values()),
            _percent(each.success_rate),
            _marks(each),
        )
        for each in shown
    ]
    columns = ("category", "campaign", "name", "enrolled", "running", "ended", "success", "")
    print_table(columns, rows)


@commands.command(help_epilogue=example("starter.py campaign show intro-q4 --json"))
async def show(slug: Slug, /, *, json: Json = False) -> None:
    """Who was enrolled, who runs, how they ended, and what each step has seen.

    A person counts as waiting, or due, at the step where they stand; as replied, or unsubscribed,
    at the step whose email was the last before.
    """
    async with Context() as context:
        store = await context.store()
        async with store.read() as tx:
            shown = await campaigns.show(tx, slug, await store.now(tx))
    if json:
        print_json(_campaign_json(shown))
    else:
        _print_campaign(shown)


@commands.command(
    help_epilogue=example(
        "starter.py campaign hold intro-q4 --until 2026-12-01T09:00 --reason 'price change'"
    )
)
async def hold(
    slug: Slug,
    /,
    *,
    until: Until = None,
    reason: Reason = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Let nothing open or leave in a campaign until it is released."""
    async with Context() as context:
        desk = await context.desk(acting)
        told, at, zone = await campaigns.hold(desk, slug, until=until, reason=reason)
        text = f"held{f' until {moment(at, zone)}' if at else ''}: {_people(told)}"
        await tell(
            text, unconfirmed(desk.store, told), json=json, **_told_json(slug, told), until=at
        )


@commands.command(help_epilogue=example("starter.py campaign release intro-q4"))
async def release(
    slug: Slug, /, *, reason: Reason = None, acting: As = None, json: Json = False
) -> None:
    """Lift what holds a campaign; people and mailboxes that are held stay so."""
    async with Context() as context:
        desk = await context.desk(acting)
        told = await campaigns.release(desk, slug, reason=reason)
        text = f"released: {_people(told)}"
        await tell(text, unconfirmed(desk.store, told), json=json, **_told_json(slug, told))


@commands.command(help_epilogue=example("starter.py campaign end intro-q4 --reason 'sold out'"))
async def end(
    slug: Slug,
    /,
    *,
    success: Annotated[
        bool, Parameter(name="--success", help="The outcome is `success`, not `removed`.")
    ] = False,
    reason: Reason = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Remove everybody who runs from a campaign; from that moment nothing leaves."""
    async with Context() as context:
        desk = await context.desk(acting)
        told = await campaigns.end(desk, slug, success=success, reason=reason)
        text = f"ended as {'success' if success else 'removed'}: {_people(told)}"
        waiting = not_ended(desk.store, campaigns.is_in(slug))
        await tell(text, waiting, json=json, **_told_json(slug, told))


@commands.command(help_epilogue=example("starter.py campaign retry intro-q4"))
async def retry(slug: Slug, /, *, acting: As = None, json: Json = False) -> None:
    """Try every failed or blocked email of a campaign again."""
    async with Context() as context:
        desk = await context.desk(acting)
        told = await campaigns.retry(desk, slug)
        text = f"tried again: {_people(told)}"
        await tell(text, unconfirmed(desk.store, told), json=json, **_told_json(slug, told))


@commands.command(help_epilogue=example("starter.py campaign archive intro-q4"))
async def archive(
    slug: Slug,
    /,
    *,
    undo: Annotated[bool, Parameter(name="--undo", help="Bring it back into use.")] = False,
    acting: As = None,
    json: Json = False,
) -> None:
    """Take a campaign out of use for new people; who runs in it goes on."""
    async with Context() as context:
        desk = await context.desk(acting)
        await campaigns.archive(desk, slug, undo=undo)
    if json:
        print_json({"campaign": slug, "archived": not undo})
    else:
        say("in use again" if undo else "archived")


def _line_json(one: CampaignShown) -> dict[str, Any]:
    return {
        "campaign": one.slug,
        "name": one.name,
        "category": one.category,
        "enrolled": one.enrolled,
        "running": one.running,
        "ended": dict(one.ended),
        "held": bool(one.holds),
        "archived": one.archived_at is not None,
    }


def _campaign_json(one: CampaignShown) -> dict[str, Any]:
    return {
        "campaign": one.slug,
        "enrolled": one.enrolled,
        "running": one.running,
        "ended": dict(one.ended),
        "steps": [to_jsonable_python(step.counts) for step in one.steps],
    }


def _print_campaign(one: CampaignShown) -> None:
    category = f" ({one.category})" if one.category else ""
    say(f"{one.slug}: {one.name}{category}")
    if one.archived_at:
        say(f"  archived, {moment(one.archived_at)}")
    for hold in one.holds:
        by = f", by {hold.who}" if hold.who else ""
        until = f", until {moment(hold.until)}" if hold.until else ""
        reason = f": {hold.reason}" if hold.reason else ""
        say(f"  held since {moment(hold.set_at)}{by}{until}{reason}")
    say(f"  enrolled {one.enrolled}, running {one.running}")
    if one.ended:
        how = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in one.ended.items())
        say(f"  ended {sum(one.ended.values())}: {how}; success rate {_percent(one.success_rate)}")
    say()
    rows = [
        (
            step.counts.step,
            step.day,
            f"{step.kind}: {step.title}",
            *(getattr(step.counts, name) or "" for name in _FIGURES),
        )
        for step in one.steps
    ]
    print_table(("step", "day", "what", *_FIGURES), rows)


def _marks(one: CampaignShown) -> str:
    marks = [("held", bool(one.holds)), ("archived", one.archived_at is not None)]
    return ", ".join(name for name, is_so in marks if is_so)


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.0%}"


def _told_json(slug: str, told: Told) -> dict[str, Any]:
    return {"campaign": slug, "enrollments": told.enrollments}


def _people(told: Told) -> str:
    return f"{told.enrollments} enrollment{'' if told.enrollments == 1 else 's'}"
