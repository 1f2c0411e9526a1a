"""Whom a search means."""

import string

from sqlalchemy import ColumnElement, String, and_, func, or_
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.store.schema import people

_ASCII = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def holds_words(tx: AsyncConnection, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Whether a column, in lower case, holds each word of a text.

    Not LIKE: it takes three times as long, and a search may have to look at everybody.
    """
    find = func.instr if tx.dialect.name == "sqlite" else func.strpos
    return and_(*(or_(*(find(column, one) > 0 for one in written(word))) for word in text.split()))


def written(word: str) -> list[str]:
    """A word as the databases may hold it in lower case: SQLite lowers ASCII alone.

    >>> written("ADA"), written("émile")
    (['ada'], ['Émile', 'ÉmilE', 'émile'])
    """
    forms = {word, word.lower(), word.capitalize(), word.upper()}
    return sorted({word.lower(), *(form.translate(_ASCII) for form in forms)})


def is_named(tx: AsyncConnection, text: str) -> ColumnElement[bool]:
    """Whether a person's address, names or company hold each word of a text."""
    return holds_words(tx, people.c.searchable.cast(String), text)
