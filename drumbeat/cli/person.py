"""`person`: one person: where they stand, why they wait, what comes next, and how to change it."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cyclopts import App, Parameter

from drumbeat.actions import mending, people, steering
from drumbeat.actions.asking import Answer
from drumbeat.actions.desk import moment
from drumbeat.actions.people import EnrollmentShown, EventShown, MessageShown, PersonShown, Rep
from drumbeat.actions.steering import ForPerson
from drumbeat.actions.telling import not_ended, unconfirmed
from drumbeat.campaign.states import MessageState, Why, explain
from drumbeat.cli.context import Context
from drumbeat.cli.errors import CommandRefused
from drumbeat.cli.output import print_json, print_table, say
from drumbeat.cli.parameters import As, Json, Reason, Until, example
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
        print_json(_person_json(shown))
    else:
        _print_person(shown)


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
) -> None:
    """Let nothing open or leave for a person, in whatever campaign, until it is released."""
    async with Context() as context:
        desk = await context.desk(acting)
        done = await steering.hold(desk, address, campaign, until=until, reason=reason)
        zones = await _zones(desk.store, done)
        end = f" until {moment(done.until, *zones)}" if done.until else ""
        say(f"held{_where(campaign)}{end}: {_count(done)}")
        say_unconfirmed(await unconfirmed(desk.store, done.told))


@commands.command(help_epilogue=example("starter.py person release ada@example.org"))
async def release(
    address: Address,
    /,
    *,
    reason: Reason = None,
    campaign: OneCampaign = None,
    acting: As = None,
) -> None:
    """Lift what holds a person, out-of-office holds included; wider holds stay."""
    async with Context() as context:
        desk = await context.desk(acting)
        done = await steering.release(desk, address, campaign, reason=reason)
        say(f"released{_where(campaign)}: {_count(done)}")
        say_unconfirmed(await unconfirmed(desk.store, done.told))


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
) -> None:
    """Remove a person from one campaign, or from all that run; nothing more leaves at once."""
    async with Context() as context:
        desk = await context.desk(acting)
        done = await steering.end(desk, address, campaign, success=success, reason=reason)
        slugs = ", ".join(row.campaign for row in done.rows)
        say(f"ended as {'success' if success else 'removed'}: {slugs}")
        say_unconfirmed(await not_ended(desk.store, done.which))


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
) -> None:
    """Change a person's data; an email that is blocked by missing data goes on."""
    wanted = _fields(fields)
    async with Context() as context:
        desk = await context.desk(acting)
        done = await mending.mend(desk, address, wanted)
        if not done.told.keys:
            say("nothing changed: it was so already")
            return
        say(f"mended {', '.join(wanted)}: {_count(done)}")
        say_unconfirmed(await unconfirmed(desk.store, done.told))


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
) -> None:
    """Try a failed or blocked email again."""
    async with Context() as context:
        desk = await context.desk(acting)
        case = await steering.case_of(desk, address, campaign)
        answer = await steering.retry(desk, case, step)
        say("tried again")
        _say_if_not_shown(answer)


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
        Path | None, Parameter(name="--body-file", help="A file that holds the new text.")
    ] = None,
    campaign: OneCampaign = None,
    acting: As = None,
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
        say(f"step {step} leaves with your text")
        _say_if_not_shown(answer)


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
) -> None:
    """Let an automatic email leave at another moment."""
    async with Context() as context:
        desk = await context.desk(acting)
        case = await steering.case_of(desk, address, campaign)
        moved = await steering.move(desk, case, step, at)
        zones = (case.plan.zone, case.rep_zone)
        say(f"step {step} moved to {moment(moved.at, *zones)}")
        if moved.leaves_at != moved.at:
            say(
                "the sending window and the sending days let it leave "
                f"{moment(moved.leaves_at, *zones)}"
            )
        _say_if_not_shown(moved.answer)


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
) -> None:
    """Leave a step out, at once or when its turn comes."""
    async with Context() as context:
        desk = await context.desk(acting)
        case = await steering.case_of(desk, address, campaign)
        answer = await steering.skip(desk, case, step, reason)
        say(f"step {step} is left out")
        _say_if_not_shown(answer)


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
) -> None:
    """Say what became of an email of which it is in doubt whether it was sent."""
    if sent == not_sent:
        raise CommandRefused("say which it is: --sent or --not-sent")
    async with Context() as context:
        desk = await context.desk(acting)
        case = await steering.case_of(desk, address, campaign)
        answer = await steering.resolve(desk, case, step, sent=sent)
        say(f"step {step} counts as sent" if sent else f"step {step} is sent again")
        _say_if_not_shown(answer)


# What is printed


def say_unconfirmed(waiting: int) -> None:
    """Say how many workflows have not confirmed what is in force already; nothing for none."""
    if waiting:
        say(f"recorded, not yet confirmed by {waiting}")


def _say_if_not_shown(answer: Answer) -> None:
    if answer is Answer.NOT_YET_SHOWN:
        say("recorded, not yet shown")


def _where(campaign: str | None) -> str:
    return "" if campaign is None else f" in {campaign}"


def _count(done: ForPerson) -> str:
    number = len(done.rows)
    return f"{number} running enrollment{'' if number == 1 else 's'}"


async def _zones(store: Store, done: ForPerson) -> list[Any]:
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
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CommandRefused(f"{path}: not UTF-8: save it as UTF-8") from None


def _person_json(person: PersonShown) -> dict[str, Any]:
    return {
        "person": person.email,
        "enrollments": [_enrollment_json(each) for each in person.enrollments],
    }


def _enrollment_json(one: EnrollmentShown) -> dict[str, Any]:
    return {
        "enrollment": one.id,
        "workflow_id": one.workflow_id,
        "campaign": one.campaign,
        "state": one.state,
        "outcome": one.outcome,
        "step": one.step,
        "why": why_json(one.why),
        "next_at": one.next_at.astimezone(one.zone).isoformat() if one.next_at else None,
        "next_at_utc": one.next_at,
        "messages": [
            {
                "step": message.step,
                "state": message.state,
                "message_id": message.message_id,
                "sent_at": message.sent_at,
                "why": why_json(message.why),
            }
            for message in one.messages
        ],
        "events": [
            {
                "at": event.at,
                "what": event.what,
                "step": event.step,
                "who": event.who.email if isinstance(event.who, Rep) else event.who,
                "detail": dict(event.detail),
            }
            for event in one.events
        ],
    }


def why_json(why: Why | None) -> dict[str, Any] | None:
    """A reason as every JSON output has it: code, text, and until when, UTC."""
    if why is None:
        return None
    return {"code": why.code, "text": explain(why), "until": why.until}


def _print_person(person: PersonShown) -> None:
    say(person.email)
    fields = dict(person.fields) | ({"timezone": person.timezone} if person.timezone else {})
    fields.pop("email", None)
    for name, value in fields.items():
        say(f"  {name}: {value}")
    if person.suppressed:
        say(f"  gets no email: {person.suppressed}")
    if not person.enrollments:
        say("  is in no campaign")
    for one in person.enrollments:
        say()
        _print_enrollment(one)


def _print_enrollment(one: EnrollmentShown) -> None:
    zones = (one.zone, one.rep.zone)
    say(f"{one.campaign}, with {one.rep.name} <{one.rep.email}>")
    state = _words(one.state)
    if one.outcome:
        state += f": {_words(one.outcome)}"
    if one.ended_at:
        state += f", {moment(one.ended_at, *zones)}"
    lines = [("state", state)]
    if one.end_asked:
        lines.append(("", f"is ending as {_words(one.end_asked)}"))
    if not one.ended_at:
        lines.append(("at", one.step_name or "the start"))
    if one.why:
        until = f", until {moment(one.why.until, *zones)}" if one.why.until else ""
        lines.append(("why", f"{explain(one.why)}{until}"))
    for hold in one.holds:
        parts = [f"{_words(hold.kind)}, since {moment(hold.set_at, *zones)}"]
        if hold.who is not None:
            parts.append(f"by {_name(hold.who)}")
        if hold.until:
            parts.append(f"until {moment(hold.until, *zones)}")
        lines.append(("held", ", ".join(parts) + (f": {hold.reason}" if hold.reason else "")))
    if one.next_at:
        lines.append(("next", moment(one.next_at, *zones)))
    if one.task:
        lines.append(("task", f"{one.task.id} ({one.task.kind}): {one.task.subject}"))
    lines += [("kickoff", moment(one.kickoff, *zones)), ("workflow", one.workflow_id)]
    for label, text in lines:
        say(f"  {label:9}{text}")
    if one.messages:
        say()
        rows = [
            (
                message.step,
                _words(message.state) + (" elsewhere" if message.elsewhere else ""),
                _when(message, one.zone),
                message.subject,
                "; ".join(
                    [
                        *([f"bounced ({message.bounced})"] if message.bounced else []),
                        *([explain(message.why)] if message.why else []),
                        *([message.answer] if message.answer else []),
                    ]
                ),
            )
            for message in one.messages
        ]
        print_table(
            ("email", "state", "sent, or due", "subject", "why, and the server's words"), rows
        )
    if one.events:
        say()
        print_table(
            (f"at ({one.zone.key})", "what", "step", "who", "detail"),
            [_event_row(event, one) for event in one.events],
        )


def _when(message: MessageShown, zone: ZoneInfo) -> str:
    """When an email was sent, or is due, as long as that is to come."""
    at = message.sent_at
    if at is None and message.state in (MessageState.SCHEDULED, MessageState.BLOCKED):
        at = message.due_at
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}" if at else ""


def _event_row(event: EventShown, one: EnrollmentShown) -> tuple[object, ...]:
    at = f"{event.at.astimezone(one.zone):%Y-%m-%d %H:%M}"
    parts = [_detail(name, text, one.zone) for name, text in event.detail.items() if text]
    detail = ", ".join(part for part in parts if part)
    return (at, _words(event.what), event.step, _name(event.who), detail)


def _detail(name: str, text: str, zone: ZoneInfo) -> str:
    """A detail of an event for people: ids say nothing to them; the reason needs no name."""
    if name in ("hold", "draft", "reply") or (name, text) == ("code", "skipped"):
        return ""
    if name in ("at", "until"):
        return f"{name} {datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M}"
    if name in ("text", "note"):
        return text
    return _words(text) if name in ("outcome", "kind", "code", "detail") else f"{name}: {text}"


def _name(who: Rep | str | None) -> str | None:
    return who.name if isinstance(who, Rep) else who


def _words(slug: str) -> str:
    return slug.replace("_", " ")
