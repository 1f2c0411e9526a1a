"""The files that a rep lets travel with an email."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add them to the drafts; an empty value means those of the template."""
    op.add_column("drafts", sa.Column("attachments", sa.JSON(), nullable=True))
