"""The tables: one schema for SQLite and PostgreSQL. Moments are UTC; ids are opaque texts."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    FetchedValue,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """An instant: aware going in, UTC coming out. SQLite itself forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive datetimes; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give an aware UTC datetime back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _id(name: str = "id", **kwargs: Any) -> Column[str]:
    return Column(name, String(64), **kwargs)


Json = JSON(none_as_null=True)
"""None is stored as NULL, not as the text `null`: so `IS NULL` finds it."""


def _filled(name: str, length: int) -> Column[str]:
    """A column that the database computes from others of its row (migrations 0008, 0010)."""
    return Column(name, String(length), FetchedValue())


keys = Table(
    "keys",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"""Secrets that must outlive a change of settings: the key from which opaque ids are made."""

campaigns = Table(
    "campaigns",
    metadata,
    Column("slug", String(100), primary_key=True),
    Column("name", Text, nullable=False),
    Column("category", Text),
    Column("created_at", Moment, nullable=False),
    Column("archived_at", Moment),
)

campaign_versions = Table(
    "campaign_versions",
    metadata,
    _id("version", primary_key=True),
    Column("slug", ForeignKey("campaigns.slug"), nullable=False, index=True),
    Column("content", Text, nullable=False),  # Campaign as JSON, byte for byte what was hashed
    Column("created_at", Moment, nullable=False),
    Column("used_at", Moment, nullable=False),  # when it was saved last: the latest is the newest
)

blobs = Table(
    "blobs",
    metadata,
    _id("sha256", primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
"""Attachments, each once."""

people = Table(
    "people",
    metadata,
    _id(primary_key=True),
    Column("email", String(320), nullable=False, unique=True),  # normalised
    Column("external_id", Text),
    Column("fields", Json, nullable=False),  # token -> text; only the filled ones
    Column("timezone", String(64)),
    Column("revision", Integer, nullable=False),  # grows with every change of the fields
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    _filled("searchable", 600),  # address, names and company, lower case
    Index("ix_people_searchable", "searchable", "id"),
)

reps = Table(
    "reps",
    metadata,
    _id(primary_key=True),
    Column("email", String(320), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("timezone", String(64)),
    Column("updated_at", Moment, nullable=False),
)
"""A copy of the reps file, for lists; the mailboxes themselves stay in the file."""

mailboxes = Table(
    "mailboxes",
    metadata,
    _id("rep_id", primary_key=True),
    Column("troubled_people", Json, nullable=False),  # ids, since the last success
    Column("bounces_running", Integer, nullable=False, server_default="0"),
    Column("last_trouble", Text),  # the server's words
    Column("proved_at", Moment),
)

enrollments = Table(
    "enrollments",
    metadata,
    _id(primary_key=True),
    Column("workflow_id", String(255), nullable=False, index=True),
    Column("campaign", ForeignKey("campaigns.slug"), nullable=False),
    Column("version", ForeignKey("campaign_versions.version"), nullable=False),
    Column("person_id", ForeignKey("people.id"), nullable=False, index=True),
    Column("rep_id", ForeignKey("reps.id"), nullable=False, index=True),
    Column("round", Integer, nullable=False),  # 1, and one more for every --again
    Column("plan", Text, nullable=False),  # calendar.Plan as JSON
    Column("standing", Text, nullable=False),  # calendar.Standing as JSON
    Column("kickoff", Moment, nullable=False),
    Column("started_at", Moment),  # when Temporal confirmed the workflow
    Column("seq", Integer, nullable=False, server_default="0"),  # last entry that is recorded
    Column("state", String(16), nullable=False),
    Column("outcome", String(20)),
    Column("step", Integer),
    Column("why", Json),  # states.Why
    Column("next_at", Moment),
    Column("end_asked", Json),  # {outcome, reason_id, who}: read by the send guard at once
    Column("replied_at", Moment),
    Column("bounced_at", Moment),
    Column("ended_at", Moment),
    _filled("reason", 32),  # the code of `why`
    UniqueConstraint("campaign", "person_id", "round"),
    Index(
        "uq_enrollments_running",
        "campaign",
        "person_id",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index("ix_enrollments_reason", "reason", "person_id"),
    Index("ix_enrollments_state", "state", "person_id"),
    Index("ix_enrollments_next_at", "state", "next_at"),
    Index("ix_enrollments_standing", "campaign", "state", "outcome", "rep_id"),
    Index(
        "ix_enrollments_going_on",
        "rep_id",
        "next_at",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

messages = Table(
    "messages",
    metadata,
    Column("enrollment_id", ForeignKey("enrollments.id"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("mailbox", ForeignKey("reps.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("why", Json),  # states.Why: what it waits for, or why it did not leave
    Column("due_at", Moment),
    Column("first", Boolean, nullable=False),  # the enrollment's lowest-numbered email
    Column("message_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("handing_over_at", Moment),  # the mark of the current attempt
    Column("tries", Integer, nullable=False, server_default="0"),  # that the server deferred
    Column("tried_for", Integer, nullable=False, server_default="0"),  # seconds it could leave in
    Column("draft_id", String(64)),
    Column("subject", Text),
    Column("rendering", Json),  # templates.Body before any edit: what a follow-up appends
    Column("quote", Json),  # composing.Quote that was appended to it
    Column("in_reply_to", Text),
    Column("refs", Json),  # References, oldest first
    Column("stored", LargeBinary),  # the bytes, attachments left out
    Column("sha256", String(64)),  # of the whole
    Column("attachments", Json),  # hashes, in order
    Column("sent_at", Moment),
    Column("elsewhere", Boolean, nullable=False, server_default=text("false")),
    Column("bounced", String(8)),  # hard, soft
    Column("answer", Text),  # the server's words
    Column("updated_at", Moment, nullable=False),
    _filled("reason", 32),  # the code of `why`
    _filled("searchable", 300),  # the subject, lower case
    Index("ix_messages_searchable", "state", "searchable", "enrollment_id", "step"),
    Index("ix_messages_reason", "reason", "updated_at", "enrollment_id", "step"),
    Index("ix_messages_state_sent_at", "state", "sent_at", "enrollment_id", "step"),
    Index("ix_messages_state_updated_at", "state", "updated_at", "enrollment_id", "step"),
    Index("ix_messages_state_due_at", "state", "due_at", "updated_at", "enrollment_id", "step"),
    Index("ix_messages_mailbox_state", "mailbox", "state"),
    Index(
        "ix_messages_bounced",
        "updated_at",
        "enrollment_id",
        "step",
        sqlite_where=text("bounced IS NOT NULL"),
        postgresql_where=text("bounced IS NOT NULL"),
    ),
    Index("ix_messages_message_id", "message_id"),
)

marks = Table(
    "marks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("mailbox", ForeignKey("reps.id"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("handed_over", Boolean, nullable=False),  # false: a place, still to be used
    Column("first", Boolean, nullable=False),
    Column("enrollment_id", String(64), nullable=False),
    Column("step", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Index("ix_marks_mailbox_at", "mailbox", "at"),
    Index("ix_marks_enrollment_id_step", "enrollment_id", "step"),
    Index(
        "ix_marks_places",
        "mailbox",
        "at",
        sqlite_where=text("handed_over IS 0"),
        postgresql_where=text("handed_over IS false"),
    ),
)
"""What counts against a mailbox's limits: every handing over, and every place taken."""

full_spans = Table(
    "full_spans",
    metadata,
    Column("mailbox", ForeignKey("reps.id"), primary_key=True),
    Column("planned", Text, nullable=False),  # the limits by which it was found
    Column("reach", Integer, nullable=False),  # seconds: the longest of their spans
    Column("spans", Json, nullable=False),  # [[from, until], …]
)
"""Where a mailbox has no place left: whoever asks need not walk along all marks again."""

tasks = Table(
    "tasks",
    metadata,
    _id(primary_key=True),
    Column("enrollment_id", ForeignKey("enrollments.id"), index=True),
    Column("person_id", ForeignKey("people.id"), nullable=False, index=True),
    Column("campaign", String(100)),
    Column("step", Integer),
    Column("kind", String(16), nullable=False),
    Column("subject", Text, nullable=False),
    Column("rep_id", ForeignKey("reps.id"), nullable=False),
    Column("due", Date, nullable=False),
    Column("priority", String(8), nullable=False),
    Column("notes", Text),
    Column("status", String(16), nullable=False),
    Column("send_at", Moment),
    Column("draft_id", String(64)),
    Column("trouble", Json),  # states.Why: why its email did not leave
    Column("opened_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("closed_by", String(64)),
    Column("outcome", Text),
    Column("text_id", String(64)),  # the rep's note or reason
    _filled("searchable", 300),  # the subject, lower case
    Index("ix_tasks_searchable", "status", "searchable", "person_id", "id"),
    UniqueConstraint("enrollment_id", "step"),
    Index("ix_tasks_rep_id_status_due", "rep_id", "status", "due"),
    # All that the order of everybody's queue hangs on.
    Index(
        "ix_tasks_queue",
        *("status", "due", "kind", "priority", "campaign", "step", "opened_at", "id"),
    ),
    Index("ix_tasks_closed_at", "closed_at", "id"),
    Index("ix_tasks_rep_id_closed_at", "rep_id", "closed_at", "id"),
    Index("ix_tasks_campaign_step", "campaign", "step", "status", "kind", "enrollment_id"),
)

drafts = Table(
    "drafts",
    metadata,
    _id(primary_key=True),
    Column("enrollment_id", ForeignKey("enrollments.id"), nullable=False),
    Column("step", Integer, nullable=False),
    Column("subject", Text, nullable=False),
    Column("html", Text, nullable=False),
    Column("cc", Json, nullable=False),
    Column("rendering", Json, nullable=False),  # templates.Body before the edit
    Column("attachments", Json),  # [model.Attachment, …]; None: the template's
    Column("who", String(64), nullable=False),
    Column("at", Moment, nullable=False),
    Index("ix_drafts_enrollment_id_step", "enrollment_id", "step", "at"),
)
"""A rep's texts; immutable: an edit is a new draft."""

texts = Table(
    "texts",
    metadata,
    _id(primary_key=True),
    Column("text", Text, nullable=False),
    Column("who", String(64)),
    Column("at", Moment, nullable=False),
)
"""Notes and reasons, which travel through Temporal as ids."""

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("enrollment_id", ForeignKey("enrollments.id")),
    Column(
        "key", String(64), nullable=False
    ),  # unique for each enrollment: recording is idempotent
    Column("person_id", String(64), nullable=False, index=True),
    Column("campaign", String(100)),
    Column("at", Moment, nullable=False, index=True),
    Column("what", String(32), nullable=False),
    Column("step", Integer),
    Column("who", String(64)),
    Column("detail", Json, nullable=False),
    UniqueConstraint("enrollment_id", "key"),
)

holds = Table(
    "holds",
    metadata,
    _id(primary_key=True),
    Column("kind", String(16), nullable=False),
    # person, out_of_office: a person's id, or an enrollment's; campaign: slug; rep, mailbox: rep id
    Column("target", String(100), nullable=False),
    Column("until", Moment),
    Column("reason", Text),
    Column("who", String(64)),
    Column("set_at", Moment, nullable=False),
    Column("released_at", Moment),
    Column("released_by", String(64)),
    Index("ix_holds_target", "kind", "target"),
)

suppressions = Table(
    "suppressions",
    metadata,
    _id(primary_key=True),
    Column("kind", String(8), nullable=False),  # address, domain
    Column("value", String(320), nullable=False, index=True),
    Column("source", String(16), nullable=False),  # unsubscribed, bounced, manual, salesforce
    Column("reason", Text),
    Column("who", String(64)),
    Column("at", Moment, nullable=False),
    Column("lifted_at", Moment),
    Column("lifted_by", String(64)),
    Column("lifted_why", Text),
    Index(
        "uq_suppressions_active",
        "kind",
        "value",
        unique=True,
        sqlite_where=text("lifted_at IS NULL"),
        postgresql_where=text("lifted_at IS NULL"),
    ),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("enrollment_id", ForeignKey("enrollments.id"), nullable=False, index=True),
    Column("kind", String(32), nullable=False),  # start, or the name of a signal or an update
    Column("payload", Json, nullable=False),  # the message; `enrollment_id` is added on delivery
    Column("not_before", Moment, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("delivered_at", Moment),
    Column("answer", Text),  # what came of it: delivered, or why it could not be
    Index("ix_outbox_waiting", "delivered_at", "not_before"),
)
"""What workflows must be told; delivered by the worker until confirmed."""

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("who", String(64)),
    Column("action", String(32), nullable=False),
    Column("target", String(100), nullable=False),
    Column("why", Text),
)
"""Append-only."""

users = Table(
    "users",
    metadata,
    _id(primary_key=True),  # a rep's id, made from the address alike where nobody is a rep
    Column("email", String(320), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("role", String(16), nullable=False),  # rep, manager, admin
    Column("password", Text),  # argon2id; None: cannot sign in by password
    Column("failures", Integer, nullable=False, server_default="0"),  # running
    Column("locked_until", Moment),
    Column("single_keys", Boolean, nullable=False, server_default=text("true")),
    Column("theme", String(8)),  # light, dark; None: the system's
    Column("created_at", Moment, nullable=False),
    Column("disabled_at", Moment),
)

sessions = Table(
    "sessions",
    metadata,
    _id(primary_key=True),  # SHA-256 of the cookie's value: who reads the table cannot sign in
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("revoked_at", Moment),
)
