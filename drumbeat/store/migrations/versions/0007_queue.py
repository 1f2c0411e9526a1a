"""The order of everybody's queue, from one index."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create an index that holds all that the order hangs on; the one before it is a part of it."""
    order = ["status", "due", "kind", "priority", "campaign", "step", "opened_at", "id"]
    op.create_index("ix_tasks_queue", "tasks", order)
    op.drop_index("ix_tasks_status_due", "tasks")
