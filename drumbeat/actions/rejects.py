"""The rows of a people file that could not be used, as a file to be mended and read again."""

import csv
from collections.abc import Iterable
from typing import TextIO

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would take for a formula (SPEC section 13)."""


def write_rejects(file: TextIO, rows: Iterable[tuple[int, str, str | None]]) -> None:
    """Write rejected rows as CSV: line, address as written, reason."""
    writer = csv.writer(file)
    writer.writerow(("line", "email", "reason"))
    for line, email, reason in rows:
        writer.writerow((line, disarmed(email), disarmed(reason)))


def disarmed(cell: str | None) -> str:
    """A cell that no spreadsheet takes for a formula.

    >>> disarmed("=1+1"), disarmed("ann@example.com")
    ("'=1+1", 'ann@example.com')
    """
    text = cell or ""
    return f"'{text}" if text.startswith(_DANGEROUS) else text
