"""The ways that an enrollment can go: each is walked once, and its history is kept for replay."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

from drumbeat.campaign.model import (
    Campaign,
    Day,
    EmailStep,
    OnReply,
    Send,
    Settings,
    TaskStep,
    Template,
    Window,
)
from drumbeat.campaign.states import State
from drumbeat.mail.outcomes import Phase
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office
from workflows.messages import Progress

Path = Callable[[Office, MemoryMailer], Awaitable[Enrolled]]
FIELDS = {"first_name": "Ada", "last_name": "Lovelace", "company": "Analytical Engines"}
ADDRESS = "ada@example.org"

WORDS = (
    b"Ada",
    b"Lovelace",
    b"Analytical",
    b"ada@example.org",
    b"Grace",
    b"grace@example.com",
    b"Dear reader",
    b"A plain subject",
    b"own words",
)
"""What stands in the people, the reps and the letters here, and must stand in no history."""


def email(
    subject: str | None, send: str, *, follow_up: bool = False, body: str = "<p>Dear reader.</p>"
) -> EmailStep:
    fixed = time.fromisoformat(send) if send[0].isdigit() else None
    return EmailStep(
        template=Template(name="intro", subject=subject, body=body, is_html=True),
        send=Send.FIXED if fixed else Send(send),
        send_time=fixed,
        follow_up=follow_up,
    )


SUBJECT = "A plain subject for {{ first_name }}"
CALL = TaskStep(kind="call", subject="Introduce yourself")


def campaign(slug: str, *days: tuple[int, Any], **settings: Any) -> Campaign:
    grouped: dict[int, list[Any]] = {}
    for day, step in days:
        grouped.setdefault(day, []).append(step)
    return Campaign(
        slug=slug,
        name="Introduction",
        settings=Settings(**settings),
        days=tuple(Day(day=day, steps=tuple(steps)) for day, steps in grouped.items()),
    )


async def _enroll(office: Office, slug: str, *days: tuple[int, Any], **settings: Any) -> Enrolled:
    # The choice to send at once goes with a first email that says `choose`.
    first = days[0][1]
    send_at = "now" if isinstance(first, EmailStep) and first.send is Send.CHOOSE else None
    made = campaign(slug, *days, **settings)
    return await office.enroll(made, ADDRESS, FIELDS, send_at=send_at)


def _is(state: State) -> Callable[[Progress], bool]:
    return lambda progress: progress.state is state


async def completed(office: Office, mailer: MemoryMailer) -> Enrolled:
    """Emails, a call, a follow-up, a rep's email with a draft, all on their days."""
    ada = await _enroll(
        office,
        "completed",
        (1, email(SUBJECT, "choose")),
        (1, CALL),
        (3, email("A case", "same_time")),
        (4, email(None, "09:30", follow_up=True)),
        (5, email("By hand", "task")),
        (6, email(None, "same_time", follow_up=True)),
        skip_weekends=True,
        holiday_countries=("US",),
        sending_window=Window(start=time(0, 0), end=time(23, 59)),
    )
    await office.skip_until_sent(ada, 1)
    await office.until(ada, _is(State.TASK))
    await ada.handle.execute_update("complete_task", {"task_id": f"{ada.id}-2"})
    await office.skip_until_sent(ada, 4)
    await office.until_task(ada, 5)
    draft = await office.draft(ada, 5, "In my own words", "<p>My own words.</p>")
    sending = {"task_id": f"{ada.id}-5", "draft_id": draft}
    await ada.handle.execute_update("send_task_email", sending)
    await office.skip_until_sent(ada, 6)
    return ada


async def _ended(office: Office, slug: str, signal: str, message: dict[str, Any]) -> Enrolled:
    ada = await _enroll(
        office,
        slug,
        (1, email(SUBJECT, "choose")),
        (2, email("Another", "09:30")),
        on_reply=OnReply.END_AS_SUCCESS if slug == "replied-success" else OnReply.END,
    )
    await office.skip_until_sent(ada, 1)
    await ada.handle.signal(signal, {"enrollment_id": ada.id, **message})
    return ada


async def replied(office: Office, mailer: MemoryMailer) -> Enrolled:
    """A reply ends it."""
    return await _ended(office, "replied", "replied", {"reply_id": "m1"})


async def replied_success(office: Office, mailer: MemoryMailer) -> Enrolled:
    """A reply ends it as a success."""
    return await _ended(office, "replied-success", "replied", {})


async def bounced(office: Office, mailer: MemoryMailer) -> Enrolled:
    """A delivery report ends it."""
    return await _ended(office, "bounced", "bounced", {"step": 1, "hard": True})


async def unsubscribed(office: Office, mailer: MemoryMailer) -> Enrolled:
    """The person unsubscribes."""
    return await _ended(office, "unsubscribed", "unsubscribed", {})


async def removed(office: Office, mailer: MemoryMailer) -> Enrolled:
    """A rep removes the person."""
    return await _ended(office, "removed", "end", {"reason_id": "x1"})


async def success(office: Office, mailer: MemoryMailer) -> Enrolled:
    """A rep ends it as a success."""
    return await _ended(office, "success", "end", {"success": True})


async def refused_address(office: Office, mailer: MemoryMailer) -> Enrolled:
    """The mail server knows no such recipient."""
    mailer.once(Phase.RCPT, 550, "5.1.1 no such user")
    return await _enroll(office, "refused-address", (1, email(SUBJECT, "choose")))


async def bounced_goes_on(office: Office, mailer: MemoryMailer) -> Enrolled:
    """A hard bounce where the campaign goes on: emails are skipped, tasks are not."""
    mailer.once(Phase.RCPT, 550, "5.1.1 no such user")
    ada = await _enroll(
        office,
        "bounced-goes-on",
        (1, email(SUBJECT, "choose")),
        (1, CALL),
        (2, email("Another", "09:30")),
        remove_on_bounce=False,
    )
    await office.until(ada, _is(State.TASK))
    await ada.handle.signal("complete_task", {"task_id": f"{ada.id}-2", "outcome": "Connected"})
    return ada


async def held(office: Office, mailer: MemoryMailer) -> Enrolled:
    """Two holds, one with an end of its own; the step that waited is late."""
    ada = await _enroll(
        office, "held", (1, email(SUBJECT, "choose")), (2, email("Another", "09:30"))
    )
    await office.skip_until_sent(ada, 1)
    until = (datetime.now(UTC) + timedelta(days=4)).isoformat()
    await ada.handle.signal("hold", {"hold_id": "h1"})
    await ada.handle.signal("hold", {"hold_id": "h2", "kind": "out_of_office", "until": until})
    await office.until(ada, _is(State.HELD))
    await office.skip(ada, days=3)
    await ada.handle.signal("release", {"hold_id": "h1"})
    await ada.handle.signal("release", {"hold_id": "h3"})
    await ada.handle.signal("hold", {"hold_id": "h3"})
    await office.skip_until_sent(ada, 2)
    return ada


async def mended(office: Office, mailer: MemoryMailer) -> Enrolled:
    """Missing data blocks an email; then the person is mended."""
    wants = email("For {{ industry }}", "choose")
    ada = await _enroll(office, "mended", (1, wants))
    await office.until(ada, _is(State.BLOCKED))
    await office.mend(ada, industry="Computing")
    await ada.handle.execute_update("mended", {"enrollment_id": ada.id})
    return ada


async def failed_and_retried(office: Office, mailer: MemoryMailer) -> Enrolled:
    """The server refuses the text; the rep tries again."""
    mailer.once(Phase.DATA, 552, "5.3.4 too big")
    ada = await _enroll(office, "failed", (1, email(SUBJECT, "choose")))
    await office.until(ada, _is(State.FAILED))
    await ada.handle.execute_update("retry_step", {"step": 1})
    return ada


async def deferred(office: Office, mailer: MemoryMailer) -> Enrolled:
    """The server defers twice, then takes it."""
    mailer.once(Phase.RCPT, 450, "4.2.0 greylisted")
    mailer.once(Phase.MAIL, 421, "4.3.2 later")
    ada = await _enroll(office, "deferred", (1, email(SUBJECT, "choose")))
    await office.skip_until_sent(ada, 1)
    return ada


async def in_doubt(office: Office, mailer: MemoryMailer) -> Enrolled:
    """The connection is lost after DATA; the rep says that it was not sent, so it goes again."""
    mailer.once(Phase.DATA)
    ada = await _enroll(office, "in-doubt", (1, email(SUBJECT, "choose")), (1, CALL))
    await office.until(ada, _is(State.IN_DOUBT))
    await ada.handle.execute_update("resolve_doubt", {"step": 1, "sent": False})
    await office.until(ada, _is(State.TASK))
    await ada.handle.execute_update("skip_task", {"task_id": f"{ada.id}-2", "reason_id": "x2"})
    return ada


async def changed(office: Office, mailer: MemoryMailer) -> Enrolled:
    """Everything that a rep can change: tasks, scheduled emails, steps to leave out."""
    ada = await _enroll(
        office,
        "changed",
        (1, email("By hand", "task")),
        (2, email(SUBJECT, "09:30")),
        (3, CALL),
        (4, email("Another", "09:30")),
    )
    task = f"{ada.id}-1"
    await office.until(ada, _is(State.TASK))
    now = datetime.now(UTC)
    ask = ada.handle.execute_update
    due = (now + timedelta(days=1)).date().isoformat()
    await ask("snooze_task", {"task_id": task, "due": due})
    await ask("edit_task", {"task_id": task, "priority": "high"})
    await ask("skip_step", {"step": 3, "reason_id": "x3"})
    await ask("send_task_email", {"task_id": task, "at": (now + timedelta(hours=2)).isoformat()})
    await ask("unschedule", {"task_id": task})
    await ask("send_task_email", {"task_id": task, "at": (now + timedelta(hours=1)).isoformat()})
    await office.skip_until_sent(ada, 1)
    await office.until(ada, lambda shown: shown.step == 2)
    draft = await office.draft(ada, 2, "In my own words", "<p>My own words.</p>")
    await ask("edit_email", {"step": 2, "draft_id": draft})
    await ask("move_email", {"step": 2, "at": (now + timedelta(days=5)).isoformat()})
    await office.skip_until_sent(ada, 2)
    await office.skip_until_sent(ada, 4)
    return ada


async def sent_elsewhere(office: Office, mailer: MemoryMailer) -> Enrolled:
    """An email task completed without sending, and the follow-up to it."""
    ada = await _enroll(
        office,
        "sent-elsewhere",
        (1, email(SUBJECT, "task")),
        (2, email(None, "same_time", follow_up=True)),
    )
    await office.until(ada, _is(State.TASK))
    await ada.handle.signal("complete_task", {"task_id": f"{ada.id}-1"})
    await office.skip_until_sent(ada, 2)
    return ada


async def wrong_messages(office: Office, mailer: MemoryMailer) -> Enrolled:
    """Every kind of wrong message; the enrollment goes on."""
    ada = await _enroll(office, "wrong-messages", (1, email(SUBJECT, "choose")), (1, CALL))
    await office.until(ada, _is(State.TASK))
    signal = ada.handle.signal
    await signal("complete_task")
    await signal("complete_task", args=["one", "two", "three"])
    await signal("complete_task", None)
    await signal("complete_task", {"task_id": "none-1"})
    await signal("complete_task", {"task_id": f"{ada.id}-2", "enrollment_id": "another"})
    await signal("no_such_signal", {"a": 1})
    await signal("hold", "not an object")
    await signal("complete_task", {"task_id": f"{ada.id}-2"})
    await signal("complete_task", {"task_id": f"{ada.id}-2"})
    return ada


async def slipped(office: Office, mailer: MemoryMailer) -> Enrolled:
    """A call that is done three days late: the days after it keep their distance."""
    ada = await _enroll(
        office,
        "slipped",
        (1, CALL),
        (1, email(SUBJECT, "09:30")),
        (3, email("Another", "09:30")),
        skip_weekends=True,
    )
    await office.until(ada, _is(State.TASK))
    await office.skip(ada, days=3)
    await ada.handle.execute_update("complete_task", {"task_id": f"{ada.id}-1"})
    await office.skip_until_sent(ada, 3)
    return ada


async def enrolled_again(office: Office, mailer: MemoryMailer) -> Enrolled:
    """The same person in the same campaign, after the first enrollment has ended."""
    made = campaign("enrolled-again", (1, email(SUBJECT, "choose")))
    first = await office.enroll(made, ADDRESS, FIELDS, send_at="now")
    await first.handle.result()
    return await office.enroll(made, ADDRESS, FIELDS, send_at="now", round=2)


async def soft_bounces(office: Office, mailer: MemoryMailer) -> Enrolled:
    """Three full mailboxes running count as an address that does not exist."""
    for _ in range(3):
        mailer.once(Phase.RCPT, 552, "5.2.2 mailbox full")
    days = ((n, email(SUBJECT, "choose" if n == 1 else "09:30")) for n in range(1, 5))
    ada = await _enroll(office, "soft-bounces", *days)
    while (await office.row(ada)).ended_at is None:
        await office.skip_to_next(ada)
    return ada


async def hurried(office: Office, mailer: MemoryMailer) -> Enrolled:
    """Held, released and ended within a moment: what comes while a record is written is heard."""
    ada = await _enroll(office, "hurried", (1, email("For {{ industry }}", "choose")))
    await office.until(ada, _is(State.BLOCKED))
    await ada.handle.signal("hold", {"hold_id": "h1"})
    await ada.handle.signal("release", {"hold_id": "h1"})
    await ada.handle.signal("end", {})
    return ada


PATHS: dict[str, Path] = {
    path.__name__: path
    for path in (
        completed,
        replied,
        replied_success,
        bounced,
        unsubscribed,
        removed,
        success,
        refused_address,
        bounced_goes_on,
        held,
        mended,
        failed_and_retried,
        deferred,
        in_doubt,
        changed,
        sent_elsewhere,
        wrong_messages,
        slipped,
        enrolled_again,
        soft_bounces,
        hurried,
    )
}
