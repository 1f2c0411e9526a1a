"""How `task` prints tasks: as JSON (SPEC section 8) and as lines."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row

from drumbeat.actions.channels import channel
from drumbeat.actions.desk import moment
from drumbeat.actions.drafting import LINK_LIMITS, EmailShown
from drumbeat.actions.tasks import zone_of
from drumbeat.campaign.planning import parse_zone
from drumbeat.campaign.states import Why, explain


def as_listed(task: Row[Any]) -> dict[str, Any]:
    """One task as `task list --json` prints it."""
    return {
        "id": task.id,
        "enrollment": task.enrollment_id,
        "workflow_id": task.workflow_id,
        "campaign": task.campaign,
        "step": task.step,
        "kind": task.kind,
        "subject": task.subject,
        "person": task.person,
        "rep": task.rep,
        "due": task.due.isoformat(),
        "priority": task.priority,
        "status": task.status,
    }


def as_shown(task: Row[Any], email: EmailShown | None, trouble: str | None) -> dict[str, Any]:
    """One task as `task show --json` prints it.

    Args:
        task: With the columns of `store.tasks.shown`.
        email: The email that would leave.
        trouble: Why it cannot be shown.
    """
    way = channel(task.kind, task.person, task.person_fields)
    why = Why.model_validate(task.trouble) if task.trouble else None
    return as_listed(task) | {
        "notes": task.notes or None,
        "fields": dict(task.person_fields),
        "channel": way,
        "send_at": task.send_at,
        "opened_at": task.opened_at,
        "closed_at": task.closed_at,
        "closed_by": task.closer,
        "outcome": task.outcome,
        "note": task.text,
        "why": None
        if why is None
        else {"code": why.code, "text": explain(why), "until": why.until},
        "email": None if email is None else _email(email),
        "trouble": trouble,
    }


def _email(email: EmailShown) -> dict[str, Any]:
    return {
        "to": email.to,
        "subject": email.subject,
        "text": email.text,
        "html": email.html,
        "quote": None if email.quote is None else email.quote.text,
        "prompts": list(email.prompts),
        "trouble": email.trouble,
        "is_draft": email.is_draft,
        "attachments": [file.filename for file in email.attachments],
        "gmail": email.gmail,
        "outlook": email.outlook,
        "link_limits": LINK_LIMITS,
    }


def lines_of(task: Row[Any], email: EmailShown | None, trouble: str | None) -> Iterator[str]:
    """One task for a reader; the arguments are those of `as_shown`."""
    yield f"{task.subject} ({task.kind})"
    for label, value in _facts(task):
        if value:
            yield f"  {label + ':':<12}{value}"
    if task.notes:
        yield ""
        yield from task.notes.splitlines()
    if trouble is not None:
        yield ""
        yield trouble
    if email is not None:
        yield ""
        yield from _lines_of_email(email)


def _facts(task: Row[Any]) -> Iterator[tuple[str, str | None]]:
    zones = (zone_of(task), parse_zone(task.rep_zone))
    fields = task.person_fields
    names = (fields.get("first_name"), fields.get("last_name"))
    yield "task", task.id
    yield "status", task.status
    if task.send_at is not None:
        yield "leaves", moment(task.send_at, *zones)
    if task.trouble:
        yield "not sent", explain(Why.model_validate(task.trouble))
    if task.closed_at is not None:
        yield "over", moment(task.closed_at, *zones)
        yield "by", task.closer_name
    yield "outcome", task.outcome
    yield "note", task.text
    yield "due", f"{task.due:%a %d %b %Y}"
    yield "priority", task.priority
    yield "rep", f"{task.rep_name}, {task.rep}"
    if task.campaign is not None:
        step = "" if task.step is None else f", step {task.step}"
        yield "campaign", f"{task.campaign}{step}"
    yield "person", ", ".join(filter(None, (" ".join(filter(None, names)), task.person)))
    # The address of an email is the person's, shown above.
    way = channel(task.kind, task.person, fields) if task.kind in ("call", "inmail") else None
    if way is not None:
        link = f"  {way.link}" if way.link is not None and way.link != way.value else ""
        trouble = f"{way.trouble}: `person mend` sets it" if way.trouble else None
        yield way.label, trouble or f"{way.value}{link}"
    shown = {"first_name", "last_name"} | ({way.label.lower()} if way is not None else set())
    for name, value in sorted(fields.items()):
        if name not in shown:
            yield name, value


def _lines_of_email(email: EmailShown) -> Iterator[str]:
    yield f"To:      {email.to}"
    yield f"Subject: {email.subject}"
    if email.attachments:
        yield f"Attached: {', '.join(file.filename for file in email.attachments)}"
    yield ""
    yield from email.whole_text.splitlines()
    yield ""
    if email.is_draft:
        yield "This is a rep's draft."
    for prompt in email.prompts:
        yield f"To be replaced: {prompt}"
    if email.trouble is not None:
        yield f"It may not leave as it stands: {email.trouble}"
    yield f"Gmail:   {email.gmail}"
    yield f"Outlook: {email.outlook}"
    yield f"In both links: {LINK_LIMITS}"
