"""The schema's history, one Alembic revision a change; none is edited after a release."""
