"""Run by Alembic: migrates over the connection that it is given, in its caller's transaction."""

from alembic import context

from drumbeat.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
