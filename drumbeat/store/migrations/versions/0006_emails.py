"""What the page of emails looks for."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create indexes: emails by state and moment, by mailbox, bounced ones."""
    op.drop_index("ix_messages_state", "messages")
    place = ["enrollment_id", "step"]
    op.create_index("ix_messages_state_sent_at", "messages", ["state", "sent_at", *place])
    op.create_index("ix_messages_state_updated_at", "messages", ["state", "updated_at", *place])
    op.create_index(
        "ix_messages_state_due_at", "messages", ["state", "due_at", "updated_at", *place]
    )
    op.create_index("ix_messages_mailbox_state", "messages", ["mailbox", "state"])
    op.create_index(
        "ix_messages_bounced",
        "messages",
        ["updated_at", *place],
        sqlite_where=sa.text("bounced IS NOT NULL"),
        postgresql_where=sa.text("bounced IS NOT NULL"),
    )
