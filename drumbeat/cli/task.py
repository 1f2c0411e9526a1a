"""`starter.py task`: the rep's queue."""

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from sqlalchemy import ColumnElement

from drumbeat.actions import task_emails, tasks
from drumbeat.actions.asking import Answer
from drumbeat.actions.attaching import Files, NewFile
from drumbeat.actions.desk import Desk
from drumbeat.actions.errors import ActionError
from drumbeat.campaign import attachments
from drumbeat.campaign.model import Priority
from drumbeat.cli.context import Context
from drumbeat.cli.errors import CommandRefused
from drumbeat.cli.output import print_json, print_table, say
from drumbeat.cli.parameters import As, Json, LeaveAt, Reason, example
from drumbeat.cli.task_shown import as_listed, as_shown, lines_of
from drumbeat.store.schema import people
from drumbeat.store.schema import tasks as table

commands = App(name="task", help="The rep's queue: what is to be done, and doing it.")

Id = Annotated[str, Parameter(help="The task's id, as `task list` shows it.")]
Kind = Literal["call", "inmail", "custom", "email"]
Due = Annotated[date | None, Parameter(name="--due", help="The due date, as in 2026-11-24.")]
HowPressing = Annotated[Priority | None, Parameter(name="--priority", help="How pressing it is.")]


def _typed(name: str, help: str) -> Parameter:
    # What a person types may begin with a hyphen.
    return Parameter(name=name, help=help, allow_leading_hyphen=True)


Notes = Annotated[str | None, _typed("--notes", "What the rep is to know; '' takes them away.")]
Body = Annotated[str | None, _typed("--body", "The email's text: HTML, or plain text.")]
BodyFile = Annotated[
    Path | None,
    Parameter(name="--body-file", help="A file with the email's text; - is standard input."),
]
Attach = Annotated[
    list[Path] | None,
    Parameter(name="--attach", negative=(), help="A file to go with the email; repeatable."),
]
EmailSubject = Annotated[str | None, _typed("--subject", "The email's subject.")]


@commands.command(
    name="list",
    help_epilogue=example("starter.py task list --as grace@example.com"),
)
async def list_tasks(
    *,
    acting: As = None,
    campaign: Annotated[str | None, Parameter(help="Only of this campaign: its slug.")] = None,
    person: Annotated[str | None, Parameter(help="Only for this person: an address.")] = None,
    every: Annotated[bool, Parameter(name="--all", help="Also those that are over.")] = False,
    json: Json = False,
) -> None:
    """List the open and scheduled tasks of --as, else of all reps.

    Replies to answer come first, then high priority, then the oldest due, then campaign order.
    """
    conditions: list[ColumnElement[bool]] = []
    if campaign is not None:
        conditions.append(table.c.campaign == campaign)
    if person is not None:
        conditions.append(people.c.email == person.strip().lower())
    async with Context() as context:
        desk = await context.desk(acting)
        found = await tasks.queue(desk, *conditions, with_closed=every)
    if json:
        print_json([as_listed(task) for task in found])
        return
    if not found:
        say("no tasks")
        return
    columns = ("id", "due", "priority", "kind", "subject", "person", "rep", "campaign", "status")
    rows = [[as_listed(task)[column] for column in columns] for task in found]
    print_table(columns, rows)


@commands.command(help_epilogue=example("starter.py task show 3f2a9c0d1e4b5a67-2"))
async def show(task_id: Id, /, *, json: Json = False) -> None:
    """Show one task: whom it is for, how to reach them, and the email that would leave."""
    async with Context() as context:
        desk = await context.desk()
        task = await tasks.find(desk, task_id)
        email, trouble = None, None
        if task.kind == "email" and task.step is not None and task.closed_at is None:
            try:
                email = await task_emails.see(desk, await context.letters(), task)
            except ActionError as error:
                trouble = str(error)
    if json:
        print_json(as_shown(task, email, trouble))
        return
    say("\n".join(lines_of(task, email, trouble)))


@commands.command(
    help_epilogue=example(
        'starter.py task add ada@example.com "Send the invoice" --due 2026-11-27 --priority high'
    )
)
async def add(
    person: Annotated[str, Parameter(name="--person", help="The person's address.")],
    subject: Annotated[str, _typed("--subject", "What is to be done.")],
    *,
    kind: Annotated[Kind, Parameter(help="What is to be done it by.")] = "custom",
    due: Due = None,
    priority: HowPressing = None,
    notes: Notes = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Add a task of your own for a person: it belongs to no step and moves no campaign.

    It is due today where nothing else is said, and lies in the queue of --as, else of the rep who
    wrote to the person last.
    """
    async with Context() as context:
        done = await tasks.add(
            await context.desk(acting),
            person,
            subject,
            kind=kind,
            due=due,
            priority=priority or Priority.NORMAL,
            notes=notes,
        )
    _report(done, json)


@commands.command(
    help_epilogue=example(
        "starter.py task complete 3f2a9c0d1e4b5a67-2 --outcome Connected --note 'Call in May.'",
    )
)
async def complete(
    task_id: Id,
    /,
    *,
    outcome: Annotated[str | None, _typed("--outcome", "Of a call: how it went.")] = None,
    note: Annotated[str | None, _typed("--note", "Your own words; kept and shown.")] = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Say that a task is done: its campaign goes on.

    An email task that is completed was sent elsewhere, now; `task send` sends it from here.
    """
    async with Context() as context:
        desk = await context.desk(acting)
        done = await tasks.complete(desk, task_id, outcome=outcome, note=note)
    _report(done, json)


@commands.command(
    help_epilogue=example(
        "starter.py task send 3f2a9c0d1e4b5a67-4",
        "starter.py task send 3f2a9c0d1e4b5a67-4 --subject 'Friday' --body-file letter.html",
        "starter.py task send 3f2a9c0d1e4b5a67-4 --attach offer.pdf",
    )
)
async def send(
    task_id: Id,
    /,
    *,
    subject: EmailSubject = None,
    body: Body = None,
    body_file: BodyFile = None,
    attach: Attach = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Send the email of a task now, as it stands or with your own text.

    The command waits some 10 seconds and says whether it has left, or why it has not. A text that
    may not be sent as it stands is kept: the task stays open with it.
    """
    text = _body(body, body_file)
    async with Context() as context:
        desk = await context.desk(acting)
        draft_id, trouble = await _draft(context, desk, task_id, subject, text, attach)
        try:
            done = await task_emails.send(desk, task_id, draft_id=draft_id)
        except ActionError as error:
            if trouble is None:
                raise
            raise CommandRefused(f"{error}: {trouble}; the text is kept as a draft") from error
    _report(done, json)


@commands.command(
    help_epilogue=example("starter.py task schedule 3f2a9c0d1e4b5a67-4 --at 2026-11-24T09:30")
)
async def schedule(
    task_id: Id,
    /,
    *,
    at: LeaveAt,
    subject: EmailSubject = None,
    body: Body = None,
    body_file: BodyFile = None,
    attach: Attach = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Let the email of a task leave at a moment; the task is over when it is sent."""
    text = _body(body, body_file)
    async with Context() as context:
        desk = await context.desk(acting)
        draft_id, trouble = await _draft(context, desk, task_id, subject, text, attach)
        if trouble is not None:
            await tasks.edit(desk, task_id, draft_id=draft_id)
            raise CommandRefused(f"not scheduled, the text is kept as a draft: {trouble}")
        done = await task_emails.schedule(
            desk, task_id, at, draft_id=draft_id, letters=await context.letters()
        )
    _report(done, json)


@commands.command(help_epilogue=example("starter.py task unschedule 3f2a9c0d1e4b5a67-4"))
async def unschedule(task_id: Id, /, *, acting: As = None, json: Json = False) -> None:
    """Take a scheduled email back: its task is a plain open one again."""
    async with Context() as context:
        done = await task_emails.unschedule(await context.desk(acting), task_id)
    _report(done, json)


@commands.command(
    help_epilogue=example("starter.py task skip 3f2a9c0d1e4b5a67-2 --reason 'Met in person.'")
)
async def skip(
    task_id: Id, /, *, reason: Reason = None, acting: As = None, json: Json = False
) -> None:
    """Leave a task out: its campaign goes on."""
    async with Context() as context:
        done = await tasks.skip(await context.desk(acting), task_id, reason=reason)
    _report(done, json)


@commands.command(
    help_epilogue=example("starter.py task snooze 3f2a9c0d1e4b5a67-2 --to 2026-11-27")
)
async def snooze(
    task_id: Id,
    /,
    *,
    to: Annotated[date, Parameter(name="--to", help="The new due date, as in 2026-11-27.")],
    acting: As = None,
    json: Json = False,
) -> None:
    """Move a task's due date; the campaign's calendar does not move."""
    async with Context() as context:
        done = await tasks.snooze(await context.desk(acting), task_id, to)
    _report(done, json)


@commands.command(
    help_epilogue=example("starter.py task reassign 3f2a9c0d1e4b5a67-2 --to alan@example.com")
)
async def reassign(
    task_id: Id,
    /,
    *,
    to: Annotated[str, Parameter(name="--to", help="The other rep's address.")],
    acting: As = None,
    json: Json = False,
) -> None:
    """Hand a task to another rep; an email still leaves from the enrollment's mailbox."""
    async with Context() as context:
        done = await tasks.reassign(await context.desk(acting), task_id, to)
    _report(done, json)


@commands.command(
    help_epilogue=example(
        "starter.py task edit 3f2a9c0d1e4b5a67-2 --priority high --notes 'Ask for Ada.'",
        "starter.py task edit 3f2a9c0d1e4b5a67-4 --email-subject 'Friday' --body-file letter.html",
    )
)
async def edit(
    task_id: Id,
    /,
    *,
    subject: Annotated[str | None, _typed("--subject", "What the task is called.")] = None,
    due: Due = None,
    priority: HowPressing = None,
    notes: Notes = None,
    email_subject: Annotated[
        str | None, _typed("--email-subject", "Of an email task: the email's subject.")
    ] = None,
    body: Body = None,
    body_file: BodyFile = None,
    attach: Attach = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Change a task; the text of its email is kept as a draft until it is sent."""
    text = _body(body, body_file)
    async with Context() as context:
        desk = await context.desk(acting)
        draft_id, trouble = await _draft(context, desk, task_id, email_subject, text, attach)
        done = await tasks.edit(
            desk,
            task_id,
            subject=subject,
            due=due,
            priority=priority,
            notes=notes,
            draft_id=draft_id,
        )
    _report(done, json, None if trouble is None else f"the draft is kept; {trouble}")


async def _draft(
    context: Context,
    desk: Desk,
    task_id: str,
    subject: str | None,
    body: str | None,
    attach: Sequence[Path] | None,
) -> tuple[str | None, str | None]:
    """The draft of what was typed, and why it may not leave as it stands, if anything."""
    if subject is None and body is None and not attach:
        return None, None
    files = Files(added=[_read(path) for path in attach]) if attach else None
    return await task_emails.write_draft(
        desk, await context.letters(), task_id, subject=subject, body=body, files=files
    )


def _read(path: Path) -> NewFile:
    """A file to be attached.

    Raises:
        CommandRefused: It is larger than an email may carry.
    """
    with path.open("rb") as file:
        content = file.read(attachments.MOST_BYTES + 1)
    if len(content) > attachments.MOST_BYTES:
        raise CommandRefused(f"{path}: an email may carry {attachments.MOST_BYTES:,} bytes")
    return NewFile(path.name, content)


def _body(body: str | None, file: Path | None) -> str | None:
    """The text that was typed, or that lies in a file.

    Raises:
        CommandRefused: Both are given, or the file is no text.
    """
    if file is None:
        return body
    if body is not None:
        raise CommandRefused("give --body or --body-file, not both")
    try:
        if str(file) == "-":
            return sys.stdin.read()
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CommandRefused(f"{file}: it is no UTF-8 text") from None


def _report(done: tasks.Done, json: bool, remark: str | None = None) -> None:
    """Print what was done."""
    is_shown = done.answer is Answer.DONE
    if json:
        print_json(
            as_listed(done.task)
            | {"done": done.what, "shown": is_shown, "at": done.at, "text": done.text}
            | {"remark": remark}
        )
        return
    say(done.text if is_shown else f"recorded, not yet shown: {done.text}")
    if remark is not None:
        say(remark)
