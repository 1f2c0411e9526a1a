"""How many have fallen due and not asked yet, from one index."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create it; state and moment of those that have ended stand still."""
    op.create_index("ix_enrollments_next_at", "enrollments", ["state", "next_at"])
