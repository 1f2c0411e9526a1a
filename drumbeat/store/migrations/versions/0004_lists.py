"""What the Tasks page and the compose window look for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create indexes: tasks by what is done and open, drafts by email, what goes on next."""
    op.create_index("ix_tasks_closed_at", "tasks", ["closed_at", "id"])
    op.create_index("ix_tasks_rep_id_closed_at", "tasks", ["rep_id", "closed_at", "id"])
    op.create_index("ix_tasks_status_due", "tasks", ["status", "due", "kind"])
    op.create_index("ix_drafts_enrollment_id_step", "drafts", ["enrollment_id", "step", "at"])
    op.create_index(
        "ix_enrollments_going_on",
        "enrollments",
        ["rep_id", "next_at"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
