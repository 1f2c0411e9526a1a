"""The first email of a campaign for one person, before they are enrolled: shown, and rewritten.

A text of their own is kept with the enrollment in one transaction, and the workflow starts with it:
there is no moment at which the template's could leave instead.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.actions import drafting
from drumbeat.actions.errors import ActionError
from drumbeat.campaign import templates
from drumbeat.campaign.model import Campaign, EmailStep
from drumbeat.campaign.templates import Body, MissingData
from drumbeat.mail.composing import clean_draft
from drumbeat.mail.rendering import Renderer, RenderingStopped
from drumbeat.reps import Rep
from drumbeat.store import ledger
from drumbeat.store.engine import insert_new
from drumbeat.store.enrollments import New
from drumbeat.store.schema import drafts, messages


@dataclass(frozen=True, slots=True)
class OwnText:
    """With what one person's first email leaves, in place of the template."""

    enrollment_id: str
    """Their enrollment gets this id: the text may hold the link that unsubscribes it."""
    step: int
    subject: str
    html: str
    rendering: Body
    """The template's, before the edit: what a follow-up appends."""

    @property
    def draft_id(self) -> str:
        """The draft's id, always the same one."""
        return f"d{self.enrollment_id}"


def first_email(campaign: Campaign) -> tuple[int, EmailStep] | None:
    """The first email of a campaign with its number; None where it has none."""
    for number, _, step in campaign.steps:
        if isinstance(step, EmailStep):
            return number, step
    return None


def future_id(secret: str, address: str) -> str:
    """The id that a person's enrollment will have, made from a secret of this enrolling."""
    return hashlib.sha256(f"{secret}/{address}".encode()).hexdigest()[:16]


async def render(
    renderer: Renderer,
    campaign: Campaign,
    rep: Rep,
    fields: Mapping[str, str],
    unsubscribe_url: str,
) -> Body | MissingData:
    """The first email as it would leave for a person.

    Args:
        renderer: Renders the template.
        campaign: The campaign; it has an email.
        rep: Who writes.
        fields: The person's, the address as `email`.
        unsubscribe_url: The person's link.

    Raises:
        ActionError: The campaign has no email, or its template cannot be rendered.
    """
    first = first_email(campaign)
    if first is None:
        raise ActionError("the campaign has no email")
    of_rep = {
        "my_name": rep.name,
        "my_email": rep.email,
        "my_title": rep.title or "",
        "my_phone": rep.phone or "",
        "my_signature": rep.signature or "",
    }
    values = templates.context(fields, of_rep, campaign.name, unsubscribe_url)
    try:
        return await renderer.render(first[1].template, values)
    except RenderingStopped as stopped:
        raise ActionError(f"the first email cannot be shown: {stopped.reason}") from stopped


def rewrite(
    campaign: Campaign, rendering: Body, enrollment_id: str, subject: str, body: str
) -> OwnText:
    """A person's own text, cleaned and checked.

    Args:
        campaign: The campaign.
        rendering: What the template gives for the person.
        enrollment_id: See `future_id`.
        subject: What was typed.
        body: What was typed, HTML or plain text.

    Raises:
        ActionError: It may not leave so; the text says what has to be mended.
    """
    first = first_email(campaign)
    if first is None or first[1].is_task:
        raise ActionError("the first email is a task: its rep writes it when it is due")
    subject = templates.clean_subject(subject)
    if not subject:
        raise ActionError("the subject is empty: an email needs one")
    if len(body) > templates.MAX_OUTPUT:
        raise ActionError(f"the text is longer than {templates.MAX_OUTPUT:,} characters")
    html = clean_draft(drafting.html_of(body))
    if not templates.text_of(html).strip() and "<img" not in html:
        raise ActionError("the text is empty: an email needs one")
    trouble = templates.check_typed(subject, html)
    if trouble is not None:
        raise ActionError(f"the text may not leave so: {trouble}")
    return OwnText(enrollment_id, first[0], subject, html, rendering)


async def keep(tx: AsyncConnection, texts: Sequence[tuple[New, OwnText]], now: datetime) -> None:
    """Write the texts of people who were enrolled in the same transaction."""
    for new, text in texts:
        await insert_new(
            tx,
            messages,
            ledger.message_values(
                enrollment_id=new.id,
                step=text.step,
                rep_id=new.rep_id,
                rep_email=new.rep_email,
                is_first=True,
                due_at=None,
                now=now,
            ),
        )
        await tx.execute(
            insert(drafts).values(
                id=text.draft_id,
                enrollment_id=new.id,
                step=text.step,
                subject=text.subject,
                html=text.html,
                cc=[],
                rendering=text.rendering.model_dump(),
                who=new.who,
                at=now,
            )
        )
        await tx.execute(
            update(messages)
            .where(messages.c.enrollment_id == new.id, messages.c.step == text.step)
            .values(draft_id=text.draft_id)
        )
