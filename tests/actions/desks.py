"""Campaigns of tasks, and desks to work them from, for the tests of what reps do."""

import secrets
from dataclasses import replace
from datetime import UTC, date, datetime

from drumbeat.actions.desk import Desk
from drumbeat.campaign.model import Campaign, Day, EmailStep, Send, Settings, TaskStep, Template
from drumbeat.reps import Mailbox, Rep, Server, Tls
from tests.office import Enrolled, Office

GRACE, ALAN = "grace@example.com", "alan@example.com"
CALL = TaskStep(kind="call", subject="Introduce yourself", notes="Ask about the migration.")


def alan() -> Rep:
    """A second rep, in Berlin, without a mailbox that is ever used."""
    mailbox = Mailbox(ALAN, Server("127.0.0.1", 2525, Tls.NONE), batch=None, daily=None)
    return Rep(email=ALAN, name="Alan Turing", timezone="Europe/Berlin", mailbox=mailbox)


def letter(
    subject: str | None = "Hello {{ first_name }}",
    body: str = "<p>Dear {{ first_name }}, one.</p>",
    *,
    follow_up: bool = False,
) -> EmailStep:
    """An email that its rep sends."""
    template = Template(subject=subject, body=body, is_html=True)
    return EmailStep(template=template, send=Send.TASK, follow_up=follow_up)


def campaign(*steps: EmailStep | TaskStep, **settings: object) -> Campaign:
    """All steps on day 1, so that a task opens as soon as the one before it is over.

    Each has a slug of its own: the tests of one database share its key, so that Ada's workflows
    would have one id.
    """
    return Campaign(
        slug=f"intro-{secrets.token_hex(4)}",
        name="Introduction",
        settings=Settings.model_validate(settings),
        days=(Day(day=1, steps=steps),),
    )


def task_id(enrolled: Enrolled, step: int) -> str:
    return f"{enrolled.id}-{step}"


def desk_of(office: Office, address: str | None) -> Desk:
    return replace(office.desk, acting=address)


def today() -> date:
    return datetime.now(UTC).date()
