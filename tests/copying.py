"""Rows that are written a second time."""

from typing import Any

from sqlalchemy import Row

FILLED = ("reason", "searchable")
"""Columns that the database fills itself, and takes from nobody."""


def values_of(row: Row[Any]) -> dict[str, Any]:
    """What a row was made with."""
    return {name: value for name, value in row._asdict().items() if name not in FILLED}
