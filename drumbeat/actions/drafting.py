"""The email of a step as a rep sees it before it leaves, and the drafts that a rep makes of it."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote as percent
from urllib.parse import urlencode

from sqlalchemy import insert

from activities.letters import Case, Draftable, Letters, keep_shown
from drumbeat.actions.attaching import Files
from drumbeat.actions.desk import Desk
from drumbeat.actions.errors import ActionError
from drumbeat.campaign import templates
from drumbeat.campaign.model import Attachment
from drumbeat.campaign.people import BadAddress, normalise_address
from drumbeat.campaign.states import Why, explain
from drumbeat.campaign.templates import Body
from drumbeat.mail.composing import Quote, clean_draft
from drumbeat.store import campaigns
from drumbeat.store.schema import drafts

LINK_LIMITS = (
    "HTML, attachments and the thread cannot travel in such a link: what opens is plain text "
    "and a new conversation."
)
"""What a rep must know of a compose link (SPEC section 5)."""

MOST_COPIES = 20

_HTML = re.compile(
    r"</?(?:a|b|body|br|div|em|h[1-6]|html|i|li|ol|p|span|strong|table|u|ul)\b[^<>]*>", re.I
)


@dataclass(frozen=True, slots=True)
class EmailShown:
    """An email as its rep sees it."""

    to: str
    subject: str
    text: str
    html: str
    quote: Quote | None
    """The previous email's template, where this one is a follow-up."""
    prompts: tuple[str, ...]
    """Field prompts that are still to be replaced."""
    trouble: str | None
    """Why it may not leave as it stands."""
    is_draft: bool
    """Whether a rep has edited it."""
    attachments: tuple[Attachment, ...]
    cc: tuple[str, ...] = ()
    """Addresses."""
    in_thread: bool = False
    """Whether it hangs on an email before it."""

    @property
    def gmail(self) -> str:
        """A link that opens Gmail's compose window with recipient, subject and text."""
        return _link(
            "https://mail.google.com/mail/?view=cm&",
            to=self.to,
            su=self.subject,
            body=self.whole_text,
        )

    @property
    def outlook(self) -> str:
        """A link that opens Outlook's compose window with recipient, subject and text."""
        return _link(
            "https://outlook.office.com/mail/deeplink/compose?",
            to=self.to,
            subject=self.subject,
            body=self.whole_text,
        )

    @property
    def whole_text(self) -> str:
        """The plain text with the quoted email below it."""
        return self.text if self.quote is None else f"{self.text}\n\n{self.quote.text}"

    @property
    def whole_html(self) -> str:
        """The HTML with the quoted email below it."""
        if self.quote is None:
            return self.html
        return templates.append_html(self.html, f"\n<br>\n{self.quote.html}")


async def show_email(
    desk: Desk, letters: Letters, enrollment_id: str, step: int, draft_id: str | None
) -> EmailShown:
    """The email of a step, its draft where there is one.

    What is shown is kept: a follow-up appends it where it is sent elsewhere (SPEC section 4).

    Raises:
        ActionError: It cannot be rendered; the text says what has to be mended.
    """
    case = await _read(desk, letters, enrollment_id, step, draft_id)
    shown = _rendered(await letters.show(case))
    async with desk.store.write() as tx:
        await keep_shown(tx, case, shown, await desk.store.now(tx))
    subject, body = shown.subject, shown.body
    if case.draft is not None:
        html = case.draft.html
        subject = case.draft.subject
        body = Body(subject=subject, html=html, text=templates.text_of(html))
    return EmailShown(
        to=case.person.email,
        subject=subject,
        text=body.text,
        html=body.html,
        quote=shown.quote,
        prompts=templates.prompts_left(body),
        trouble=templates.check_typed(subject, body.html),
        is_draft=case.draft is not None,
        attachments=case.attachments,
        cc=tuple(case.draft.cc) if case.draft is not None else (),
        in_thread=shown.thread.in_reply_to is not None,
    )


async def save_draft(
    desk: Desk,
    letters: Letters,
    enrollment_id: str,
    step: int,
    draft_id: str | None,
    *,
    subject: str | None,
    body: str | None,
    who: str | None,
    cc: Sequence[str] | None = None,
    files: Files | None = None,
) -> tuple[str, str | None]:
    """Save a rep's text as a new draft; nothing uses it until the workflow is told.

    Args:
        desk: From where it is done.
        letters: Renders what the draft is based on.
        enrollment_id: The enrollment.
        step: The email's step.
        draft_id: The draft before it, whose text stays where nothing else is given.
        subject: The new subject; None: as it was.
        body: The new text, HTML or plain; None: as it was.
        who: The id of the rep.
        cc: The addresses of the new copies; None: as they were.
        files: What changes among the files that travel with it; None: nothing.

    Returns:
        The draft's id, and what would keep it from being sent as it stands, if anything.

    Raises:
        ActionError: It cannot be rendered, the text is empty or too long, an address is none, or
            the files are too many or too large.
    """
    copies = None if cc is None else _addresses(cc)
    case = await _read(desk, letters, enrollment_id, step, draft_id)
    if case.draft is not None:
        rendering = Body.model_validate(case.draft.rendering)
        old_subject, old_html = case.draft.subject, case.draft.html
    else:
        shown = _rendered(await letters.show(case))
        rendering, old_subject, old_html = shown.body, shown.subject, shown.body.html
    new_subject = old_subject if subject is None else templates.clean_subject(subject)
    if not new_subject:
        raise ActionError("the subject is empty: an email needs one")
    html = old_html if body is None else _typed(body, case.rep.signature)
    if copies is None:
        copies = list(case.draft.cc) if case.draft is not None else []
    kept = None if case.draft is None else case.draft.attachments
    if files is not None:
        kept = [file.model_dump() for file in files.change(case.attachments)]
    new_id = f"d{secrets.token_hex(8)}"
    async with desk.store.write() as tx:
        if files is not None:
            await campaigns.keep_blobs(tx, files.contents)
        await tx.execute(
            insert(drafts).values(
                id=new_id,
                enrollment_id=enrollment_id,
                step=step,
                subject=new_subject,
                html=html,
                cc=copies,
                rendering=rendering.model_dump(),
                attachments=kept,
                who=who or "",
                at=await desk.store.now(tx),
            )
        )
    return new_id, templates.check_typed(new_subject, html)


def html_of(text: str) -> str:
    r"""What a rep typed, as HTML: paragraphs where it is plain text.

    >>> html_of("Hello,\n\nhow are you?\nGrace")
    '<p>Hello,</p>\n<p>how are you?<br>\nGrace</p>'
    """
    return text if _HTML.search(text) else _paragraphs(text)


def _paragraphs(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").rstrip()
    paragraphs = re.split(r"\n[ \t]*\n\s*", lines)
    return "\n".join(
        "<p>" + "<br>\n".join(escape(part, quote=False).split("\n")) + "</p>"
        for part in paragraphs
        if part.strip()
    )


def _typed(text: str, signature: str | None) -> str:
    """The body of a draft, cleaned, with the rep's signature where the text does not hold it."""
    if len(text) > templates.MAX_OUTPUT:
        raise ActionError(f"the text is longer than {templates.MAX_OUTPUT:,} characters")
    html = clean_draft(html_of(text))
    shown = " ".join(templates.text_of(html).split())
    if not shown and "<img" not in html:
        raise ActionError("the text is empty: an email needs one")
    if signature and " ".join(signature.split()) not in shown:
        html = templates.append_html(html, f"\n{_paragraphs(signature)}")
    return html


def _addresses(typed: Sequence[str]) -> list[str]:
    """Addresses as they are kept, each once.

    Raises:
        ActionError: One of them is none, or they are too many.
    """
    found: dict[str, None] = {}
    for text in typed:
        try:
            found[normalise_address(text)] = None
        except BadAddress as error:
            raise ActionError(f"Cc: {error}") from error
    if len(found) > MOST_COPIES:
        raise ActionError(f"Cc: at most {MOST_COPIES} addresses, these are {len(found)}")
    return list(found)


async def _read(
    desk: Desk, letters: Letters, enrollment_id: str, step: int, draft_id: str | None
) -> Case:
    # A write transaction: the email's row is made where it is shown before it is scheduled.
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        try:
            return await letters.read(tx, enrollment_id, step, draft_id, now, blobs=None)
        except LookupError as error:
            raise ActionError(str(error)) from error


def _rendered(shown: Draftable | Why) -> Draftable:
    if isinstance(shown, Why):
        raise ActionError(f"the email cannot be shown: {explain(shown)}")
    return shown


def _link(base: str, **values: str) -> str:
    # Outlook shows a plus sign as one: spaces must be %20.
    return base + urlencode(values, quote_via=percent, safe="")
