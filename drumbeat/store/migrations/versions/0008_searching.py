"""What people are searched by, and the code of why something waits, as columns with indexes."""

from alembic import op

revision = "0008"
down_revision = "0007"

NAMES = ("first_name", "last_name", "company")


def upgrade() -> None:
    """Add columns that the database fills itself, and their indexes.

    SQLite computes them when they are read, or takes them from the index; PostgreSQL stores them.
    """
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    kind = "VIRTUAL" if is_sqlite else "STORED"

    def value(column: str, key: str) -> str:
        return f"json_extract({column}, '$.{key}')" if is_sqlite else f"{column} ->> '{key}'"

    def add(table: str, column: str, type_: str, expression: str) -> None:
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN {column} {type_} "
            f"GENERATED ALWAYS AS ({expression}) {kind}"
        )

    for table in ("enrollments", "messages"):
        add(table, "reason", "VARCHAR(32)", value("why", "code"))
    names = " || ' ' || ".join(f"coalesce({value('fields', name)}, '')" for name in NAMES)
    # An index holds values of some 2,700 bytes at most.
    text = f"substr(lower(email || ' ' || {names}), 1, 600)"
    add("people", "searchable", "VARCHAR(600)", text)
    op.create_index("ix_people_searchable", "people", ["searchable", "id"])
    add("tasks", "searchable", "VARCHAR(300)", "substr(lower(subject), 1, 300)")
    op.create_index("ix_tasks_searchable", "tasks", ["status", "searchable", "person_id", "id"])
    op.create_index("ix_enrollments_reason", "enrollments", ["reason", "person_id"])
    op.create_index("ix_enrollments_state", "enrollments", ["state", "person_id"])
    place = ["updated_at", "enrollment_id", "step"]
    op.create_index("ix_messages_reason", "messages", ["reason", *place])
