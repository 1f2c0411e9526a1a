"""How a person is printed: as JSON, which is a contract, and for people to read."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from drumbeat.actions.desk import moment
from drumbeat.actions.people import EnrollmentShown, EventShown, MessageShown, PersonShown, Rep
from drumbeat.campaign.states import MessageState, Why, explain
from drumbeat.cli.output import print_table, say


def person_json(person: PersonShown) -> dict[str, Any]:
    """A person as `person show --json` prints one (SPEC section 8)."""
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


def print_person(person: PersonShown) -> None:
    """Print a person's data and, for each enrollment, where it stands and what happened."""
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
