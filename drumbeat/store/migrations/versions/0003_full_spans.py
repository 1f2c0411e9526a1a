"""Where a mailbox has no place left within its limits."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table of what is known to be full, and an index of the places alone."""
    op.create_table(
        "full_spans",
        sa.Column("mailbox", sa.String(length=64), nullable=False),
        sa.Column("planned", sa.Text(), nullable=False),
        sa.Column("reach", sa.Integer(), nullable=False),
        sa.Column("spans", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["mailbox"], ["reps.id"], name=op.f("fk_full_spans_mailbox")),
        sa.PrimaryKeyConstraint("mailbox", name=op.f("pk_full_spans")),
    )
    op.create_index(
        "ix_marks_places",
        "marks",
        ["mailbox", "at"],
        sqlite_where=sa.text("handed_over IS 0"),
        postgresql_where=sa.text("handed_over IS false"),
    )
