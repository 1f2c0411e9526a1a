"""What the pages of campaigns count: enrollments by how they stand, tasks by their step."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create indexes that hold all that is counted; the one before them is a part of the first."""
    op.create_index(
        "ix_enrollments_standing", "enrollments", ["campaign", "state", "outcome", "rep_id"]
    )
    op.drop_index("ix_enrollments_campaign_state", "enrollments")
    op.create_index(
        "ix_tasks_campaign_step",
        "tasks",
        ["campaign", "step", "status", "kind", "enrollment_id"],
    )
