"""What Alembic runs: the migrations, on the connection that `drumbeat.store.migrate` has opened."""

from alembic import context

from drumbeat.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table only by replacing it
)
context.run_migrations()
