"""`person`: one person: where they stand, why they wait, what comes next, and how to change it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from cyclopts import App, Parameter

from drumbeat.actions import mending, people, steering
from drumbeat.actions.desk import moment
from drumbeat.actions.steering import Case, ForPerson
from drumbeat.actions.telling import not_ended, unconfirmed
from drumbeat.campaign.states import Outcome
from drumbeat.cli.context import Context
from drumbeat.cli.errors import CommandRefused
from drumbeat.cli.output import print_json
from drumbeat.cli.parameters import As, Json, Reason, Until, example
from drumbeat.cli.person_shown import person_json, print_person
from drumbeat.cli.told import tell, tell_answer
from drumbeat.store.engine import Store

commands = App(name="person", help="One person: where they stand, why they wait, what comes next.")

Address = Annotated[str, Parameter(help="The person's email address.")]
OneCampaign = Annotated[
    str | None,
    Parameter(name="--campaign", help="A slug: this campaign only. Needed where several run."),
]
Step = Annotated[int, Parameter(name="--step", help="The step's number, from 1.")]


@commands.command(help_epilogue=example("starter.py person show ada@example.org --json"))
async def show(address: Address, /, *, campaign: OneCampaign = None, json: Json = False) -> None:
    """Where a person stands: state, reason, what comes next, emails, and what happened."""
    async with Context() as context:
        store = await context.store()
        async with store.read() as tx:
            shown = await people.show(tx, address, await store.now(tx), campaign)
    if json:
        print_json(person_json(shown))
    else:
        print_person(shown)


@commands.command(
    help_epilogue=example(
        "starter.py person hold ada@example.org --until 2026-12-01T09:00 --reason 'on leave'"
    )
)
async def hold(
    address: Address,
    /,
    *,
    until: Until = None,
    reason: Reason = None,
    campaign: OneCampaign = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Let nothing open or leave for a person, in whatever campaign, until it is released."""
    async with Context() as context:
        desk = await context.desk(acting)
        done = await steering.hold(desk, address, campaign, until=until, reason=reason)
        zones = await _zones(desk.store, done)
        end = f" until {moment(done.until, *zones)}" if done.until else ""
        await tell(
            f"held{_where(campaign)}{end}: {_count(done)}",
            unconfirmed(desk.store, done.told),
            json=json,
            enrollments=_ids(done),
            until=done.until,
        )


@commands.command(help_epilogue=example("starter.py person release ada@example.org"))
async def release(
    address: Address,
    /,
    *,
    reason: Reason = None,
    campaign: OneCampaign = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Lift what holds a person, out-of-office holds included; wider holds stay."""
    async with Context() as context:
        desk = await context.desk(acting)
        done = await steering.release(desk, address, campaign, reason=reason)
        await tell(
            f"released{_where(campaign)}: {_count(done)}",
            unconfirmed(desk.store, done.told),
            json=json,
            enrollments=_ids(done),
        )


@commands.command(
    help_epilogue=example("starter.py person end ada@example.org --success --reason 'has signed'")
)
async def end(
    address: Address,
    /,
    *,
    success: Annotated[
        bool, Parameter(name="--success", help="The outcome is `success`, not `removed`.")
    ] = False,
    reason: Reason = None,
    campaign: OneCampaign = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Remove a person from one campaign, or from all that run; from that moment nothing leaves."""
    async with Context() as context:
        desk = await context.desk(acting)
        done = await steering.end(desk, address, campaign, success=success, reason=reason)
        await tell(
            "; ".join(_endings(done, Outcome.SUCCESS if success else Outcome.REMOVED)),
            not_ended(desk.store, done.which),
            json=json,
            enrollments=_ids(done),
        )


@commands.command(
    help_epilogue=example("starter.py person mend ada@example.org industry=mining title=Countess")
)
async def mend(
    address: Address,
    /,
    *fields: Annotated[
        str,
        Parameter(help="FIELD=VALUE, such as industry=mining.", allow_leading_hyphen=True),
    ],
    acting: As = None,
    json: Json = False,
) -> None:
    """Change a person's data; an email that is blocked by missing data goes on."""
    wanted = _fields(fields)
    async with Context() as context:
        desk = await context.desk(acting)
        done = await mending.mend(desk, address, wanted)
        has_changed = bool(done.told.keys)
        text = f"mended {', '.join(wanted)}: {_count(done)}"
        await tell(
            text if has_changed else "nothing changed: it was so already",
            unconfirmed(desk.store, done.told),
            json=json,
            enrollments=_ids(done),
            changed=has_changed,
        )


@commands.command(help_epilogue=example("starter.py person retry ada@example.org"))
async def retry(
    address: Address,
    /,
    *,
    step: Annotated[
        int | None, Parameter(name="--step", help="Default: the step that failed or is blocked.")
    ] = None,
    campaign: OneCampaign = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Try a failed or blocked email again."""
    async with Context() as context:
        desk = await context.desk(acting)
        case = await steering.case_of(desk, address, campaign)
        answer = await steering.retry(desk, case, step)
        tell_answer("tried again", answer, json=json, **_case_json(case, step))


@commands.command(
    help_epilogue=example(
        "starter.py person edit ada@example.org --step 3 --subject 'A word on mining' "
        "--body-file letter.html"
    )
)
async def edit(
    address: Address,
    /,
    *,
    step: Step,
    subject: Annotated[
        str | None,
        Parameter(name="--subject", help="The new subject.", allow_leading_hyphen=True),
    ] = None,
    body: Annotated[
        str | None,
        Parameter(name="--body", help="The new text, plain or HTML.", allow_leading_hyphen=True),
    ] = None,
    body_file: Annotated[
        Path | None,
        Parameter(name="--body-file", help="A file that holds the new text; - is standard input."),
    ] = None,
    campaign: OneCampaign = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Let an automatic email leave with a text of your own."""
    if body is not None and body_file is not None:
        raise CommandRefused("give --body or --body-file, not both")
    if subject is None and body is None and body_file is None:
        raise CommandRefused("nothing to change: give --subject, --body or --body-file")
    text = body if body_file is None else _text_of(body_file)
    async with Context() as context:
        desk = await context.desk(acting)
        case = await steering.case_of(desk, address, campaign)
        letters = await context.letters()
        answer = await steering.edit(desk, letters, case, step, subject=subject, body=text)
        tell_answer(
            f"step {step} leaves with your text", answer, json=json, **_case_json(case, step)
        )


@commands.command(
    help_epilogue=example("starter.py person move ada@example.org --step 3 --at 2026-12-01T10:15")
)
async def move(
    address: Address,
    /,
    *,
    step: Step,
    at: Annotated[
        str,
        Parameter(
            name="--at",
            help="A date with a time; without an offset it is local to the enrollment's zone.",
        ),
    ],
    campaign: OneCampaign = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Let an automatic email leave at another moment."""
    async with Context() as context:
        desk = await context.desk(acting)
        case = await steering.case_of(desk, address, campaign)
        moved = await steering.move(desk, case, step, at)
        zones = (case.plan.zone, case.rep_zone)
        text = f"step {step} moved to {moment(moved.at, *zones)}"
        if moved.leaves_at != moved.at:
            text += (
                "; the sending window and the sending days let it leave "
                f"{moment(moved.leaves_at, *zones)}"
            )
        times = {"at": moved.at, "leaves_at": moved.leaves_at}
        tell_answer(text, moved.answer, json=json, **_case_json(case, step), **times)


@commands.command(
    help_epilogue=example("starter.py person skip ada@example.org --step 2 --reason 'knows it'")
)
async def skip(
    address: Address,
    /,
    *,
    step: Step,
    reason: Reason = None,
    campaign: OneCampaign = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Leave a step out, at once or when its turn comes."""
    async with Context() as context:
        desk = await context.desk(acting)
        case = await steering.case_of(desk, address, campaign)
        answer = await steering.skip(desk, case, step, reason)
        tell_answer(f"step {step} is left out", answer, json=json, **_case_json(case, step))


@commands.command(
    help_epilogue=example("starter.py person resolve ada@example.org --step 1 --not-sent")
)
async def resolve(
    address: Address,
    /,
    *,
    step: Step,
    sent: Annotated[
        bool, Parameter(name="--sent", help="It was sent: the campaign goes on.")
    ] = False,
    not_sent: Annotated[
        bool, Parameter(name="--not-sent", help="It was not sent: it is sent again.")
    ] = False,
    campaign: OneCampaign = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Say what became of an email of which it is in doubt whether it was sent."""
    if sent == not_sent:
        raise CommandRefused("say which it is: --sent or --not-sent")
    async with Context() as context:
        desk = await context.desk(acting)
        case = await steering.case_in_doubt(desk, address, campaign, step)
        answer = await steering.resolve(desk, case, step, sent=sent)
        again = "is cancelled: the enrollment is over" if case.is_over else "is sent again"
        text = f"step {step} counts as sent" if sent else f"step {step} {again}"
        tell_answer(text, answer, json=json, **_case_json(case, step))


# What is printed


def _where(campaign: str | None) -> str:
    return "" if campaign is None else f" in {campaign}"


def _count(done: ForPerson) -> str:
    number = len(done.rows)
    return f"{number} running enrollment{'' if number == 1 else 's'}"


def _ids(done: ForPerson) -> list[str]:
    return [row.id for row in done.rows]


def _case_json(case: Case, step: int | None) -> dict[str, object]:
    return {"enrollment": case.id, "campaign": case.campaign, "step": step}


def _endings(done: ForPerson, outcome: Outcome) -> list[str]:
    """What becomes of each enrollment: an end that was asked for before stands."""
    fresh = ", ".join(row.campaign for row in done.rows if row.end_asked is None)
    lines = [f"ended as {outcome}: {fresh}"] if fresh else []
    for row in done.rows:
        if row.end_asked is not None:
            lines.append(f"{row.campaign} was ending as {row.end_asked['outcome']} already")
    return lines


async def _zones(store: Store, done: ForPerson) -> list[ZoneInfo | None]:
    """The enrollments' zones, then their reps'."""
    async with store.read() as tx:
        reps = [await people.rep_named(tx, row.rep_id) for row in done.rows]
    return [*(people.zone_of(row) for row in done.rows), *(rep.zone for rep in reps)]


def _fields(values: Sequence[str]) -> dict[str, str]:
    if not values:
        raise CommandRefused("nothing to mend: give FIELD=VALUE, such as industry=mining")
    found: dict[str, str] = {}
    for value in values:
        name, sign, text = value.partition("=")
        if not sign or not name.strip():
            raise CommandRefused(f"{value!r} is not of the form FIELD=VALUE, as in industry=mining")
        if name.strip() in found:
            raise CommandRefused(f"field {name.strip()} is given twice")
        found[name.strip()] = text.strip()
    return found


def _text_of(path: Path) -> str:
    if str(path) == "-":
        return sys.stdin.read()
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CommandRefused(f"{path}: not UTF-8: save it as UTF-8") from None
