"""What emails are searched by beside their person, as a column with an index."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add a column that the database fills itself: SQLite computes it, PostgreSQL stores it."""
    kind = "VIRTUAL" if op.get_bind().dialect.name == "sqlite" else "STORED"
    # An index holds values of some 2,700 bytes at most.
    op.execute(
        "ALTER TABLE messages ADD COLUMN searchable VARCHAR(300) "
        f"GENERATED ALWAYS AS (substr(lower(subject), 1, 300)) {kind}"
    )
    place = ["state", "searchable", "enrollment_id", "step"]
    op.create_index("ix_messages_searchable", "messages", place)
