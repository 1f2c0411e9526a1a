"""Whom a search means."""

import string
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.schema import people

_ASCII = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def holds_words(tx: AsyncConnection, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Whether a column, in lower case, holds each word of a text.

    Not LIKE: it takes three times as long, and a search may have to look at everybody.
    """
    find = func.instr if tx.dialect.name == "sqlite" else func.strpos
    return and_(
        *(or_(*(find(column, one) > 0 for one in spellings(word))) for word in text.split())
    )


def spellings(word: str) -> list[str]:
    """A word as the databases may hold it in lower case: SQLite lowers ASCII alone.

    >>> spellings("ADA"), spellings("émile")
    (['ada'], ['Émile', 'émile'])
    """
    forms = {word, word.lower(), word.capitalize(), word.upper()}
    return sorted({word.lower(), *(form.translate(_ASCII) for form in forms)})


def is_named(tx: AsyncConnection, text: str) -> ColumnElement[bool]:
    """Whether a person's address, names or company hold each word of a text."""
    return holds_words(tx, people.c.searchable, text)


def everybody_named(tx: AsyncConnection, text: str) -> Select[tuple[str]]:
    """The query for the ids of everybody whom a search means.

    Its bound makes SQLite look through the index, not through the rows.
    """
    return select(people.c.id).where(people.c.searchable >= "", is_named(tx, text))


async def people_named(tx: AsyncConnection, text: str, most: int) -> Sequence[str] | None:
    """The ids of everybody whom a search means; None: they are more than `most`."""
    wanted = everybody_named(tx, text).limit(most + 1)
    found = [row.id for row in await tx.execute(wanted)]
    return found if len(found) <= most else None
