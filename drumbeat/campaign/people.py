"""A CSV file -> people, the rows that are rejected, and what is wrong with the file (SPEC 7)."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from email_validator import EmailNotValidError, validate_email

from drumbeat.campaign.planning import LaunchError, parse_zone
from drumbeat.campaign.tokens import OTHER_TOKENS, find_tokens

MAX_BYTES = 20 * 1024 * 1024
MAX_ROWS = 100_000
MAX_COLUMNS = 200
MAX_FIELD = 8_000
"""Characters in one field: more is a quote that was left open rather than a person's data."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_NOT_LETTERS = re.compile(r"[\s-]+")
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class PersonRow:
    """What a file says of one person, several rows of the same address merged."""

    line: int
    """Of the first row, from 1."""
    email: str
    """Normalised, see `normalise_address`."""
    fields: Mapping[str, str]
    """Token -> text, only the filled ones; neither address nor zone nor id."""
    timezone: str | None = None
    """IANA name."""
    external_id: str | None = None
    """The key under which another system knows the person."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used; it does not stop the others."""

    line: int
    """From 1."""
    email: str
    """As written; empty where there is none."""
    reason: str


@dataclass(frozen=True, slots=True)
class PeopleReading:
    """What reading a file gave. With faults, nothing of it is to be used."""

    people: tuple[PersonRow, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    faults: tuple[str, ...] = ()
    """Each `FILE: what is wrong and what would be right`, or with `FILE:LINE:`."""
    columns: tuple[str, ...] = ()
    """The header's names as tokens, in order."""


class BadAddress(ValueError):
    """No address that mail can be sent to; the text says why."""


class _Unusable(Exception):
    """The whole file cannot be used; each message is a fault of the same line."""

    def __init__(self, *messages: str, line: int | None = None) -> None:
        super().__init__(*messages)
        self.messages = messages
        self.line = line


def read_people(path: Path) -> PeopleReading:
    """Read the people of a CSV file (SPEC section 7).

    Recognised are UTF-8 with or without BOM and cp1252; commas, semicolons, tabs and bars; at most
    20 MiB, 100,000 rows, 200 columns. Rows with the same address merge: what a later row fills
    wins. Formulas are text like any other.
    """
    try:
        text = _decode(_bytes(path))
        return _read(text)
    except _Unusable as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        return PeopleReading(faults=tuple(f"{where}: {message}" for message in error.messages))


@lru_cache(maxsize=4096)
def normalise_address(text: str) -> str:
    """An address as it is stored and compared: in lower case, its domain in ASCII.

    >>> normalise_address("Grace.Hopper@EXAMPLE.com")
    'grace.hopper@example.com'

    Raises:
        BadAddress: It is malformed, or no server could be handed it (RFC 5321 without SMTPUTF8).
    """
    try:
        found = validate_email(
            text, check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except EmailNotValidError as error:
        raise BadAddress(str(error)) from error
    return (found.ascii_email or found.normalized).lower()


def _bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise _Unusable("it is a folder: give a CSV file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise _Unusable(f"it cannot be read: {reason}") from error
    except ValueError as error:  # a NUL in the path
        raise _Unusable("it cannot be read: no such file can exist") from error
    if len(data) > MAX_BYTES:
        raise _Unusable(f"it is larger than {MAX_BYTES // 1024 // 1024} MiB: divide it")
    return data


def _decode(data: bytes) -> str:
    if data.startswith(_UTF_16):
        raise _Unusable("it is UTF-16: save it as CSV in UTF-8")
    if (place := data.find(b"\0")) >= 0:
        line = data.count(b"\n", 0, place) + 1
        raise _Unusable(
            "it holds a NUL byte, so it is no CSV text: save it as CSV in UTF-8", line=line
        )
    if data.startswith(_BOM):
        data = data[len(_BOM) :]
        encodings = ["utf-8"]
    else:
        encodings = ["utf-8", "cp1252"]
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            place = error.start
    line = data.count(b"\n", 0, place) + 1
    raise _Unusable("it is neither UTF-8 nor cp1252: save it as CSV in UTF-8", line=line)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Every record that is not blank, with the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise _Unusable(_what_quotes(error), line=line) from error
        if any(cells):
            yield line, cells


def _what_quotes(error: csv.Error) -> str:
    words = str(error)
    if "field larger than" in words:
        return f"{_too_long()}: is a quote left open?"
    if "unexpected end of data" in words:
        return 'a quote (") is opened and never closed: close it, or double a quote that is meant'
    return (
        "a closing quote is followed by text: a quote inside a quoted field is written twice"
        f' ("") ({words})'
    )


def _too_long() -> str:
    return f"a field has more than {MAX_FIELD:,} characters"


def _read(text: str) -> PeopleReading:
    line, delimiter, header = _header(text)
    if len(header) > MAX_COLUMNS:
        raise _Unusable(f"it has {len(header)} columns: at most {MAX_COLUMNS} are read", line=line)
    columns = tuple(_token(name) for name in header)
    if faults := _header_faults(header, columns):
        raise _Unusable(*faults, line=line)
    people: dict[str, PersonRow] = {}
    rejected: list[Rejected] = []
    count = 0
    for line, cells in _rows(text, delimiter):
        count += 1
        if count > MAX_ROWS:
            raise _Unusable(f"it has more than {MAX_ROWS:,} rows: divide it", line=line)
        if any(len(cell) > MAX_FIELD for cell in cells):
            raise _Unusable(f"{_too_long()}: is a quote left open?", line=line)
        row = _person(line, cells, columns)
        if isinstance(row, Rejected):
            rejected.append(row)
        elif row.email in people:
            people[row.email] = _merged(people[row.email], row)
        else:
            people[row.email] = row
    if not count:
        raise _Unusable("there is nobody below the header: add a row for each person")
    return PeopleReading(tuple(people.values()), tuple(rejected), (), columns)


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    records = _records(text, delimiter)
    next(records)  # the header
    return records


def _header(text: str) -> tuple[int, str, list[str]]:
    """The header's line, the delimiter and the cells, blank ones at the end left out."""
    best: tuple[bool, int, str, int, list[str]] | None = None
    trouble: _Unusable | None = None
    for delimiter in DELIMITERS:
        try:
            first = next(_records(text, delimiter), None)
        except _Unusable as error:
            trouble = error
            continue
        if first is None:
            continue
        line, cells = first
        while not cells[-1]:
            cells = cells[:-1]
        has_email = any(_token(cell) == "email" for cell in cells)
        # Of equals the first stays: a header of one column says nothing about the delimiter.
        if best is None or (has_email, len(cells)) > best[:2]:
            best = (has_email, len(cells), delimiter, line, cells)
    if best is None:
        raise trouble or _Unusable(
            "it is empty: it needs a header that names the columns, at least email"
        )
    _, _, delimiter, line, cells = best
    return line, delimiter, cells


def _token(name: str) -> str:
    """A column's name as a token.

    >>> _token("Company Size"), _token("e-mail")
    ('company_size', 'e_mail')
    """
    return _NOT_LETTERS.sub("_", name.strip()).lower()


def _header_faults(header: list[str], columns: tuple[str, ...]) -> list[str]:
    if any("@" in name for name in header):
        return ["there is no header: the first line must name the columns, at least email"]
    if len(header) == 1 and not _is_token(columns[0]):
        parted = ", ".join(DELIMITERS.values())
        return [f"'{_short(header[0])}' is one column: part the columns by one of {parted}"]
    faults = []
    seen: dict[str, str] = {}
    for number, (name, token) in enumerate(zip(header, columns, strict=True), start=1):
        if not name:
            faults.append(f"column {number} has no name: give it one")
        elif token in seen:
            faults.append(f"the columns '{_short(seen[token])}' and '{_short(name)}' are the same")
        elif (why := _why_no_field(token)) is not None:
            faults.append(f"the column '{_short(name)}' {why}")
        seen.setdefault(token, name)
    if "email" not in columns:
        faults.append(_no_email(header, columns))
    return faults


def _why_no_field(token: str) -> str | None:
    """Why a token cannot be a field of a person."""
    if token.startswith("my_"):
        return "begins with 'my_', as only the rep's tokens do: rename it"
    if token in OTHER_TOKENS:
        return "is a token of Drumbeat's own: rename it"
    if not _is_token(token):
        return "cannot be a token: letters, digits and '_' make one, a letter comes first"
    return None


def field_fault(token: str, text: str) -> str | None:
    """Why a person cannot have a field of that name and text; None where it is fine.

    >>> field_fault("my_name", "Ann")
    "'my_name' begins with 'my_', as only the rep's tokens do: rename it"
    """
    why = _why_no_field(token)
    if why is not None:
        return f"'{_short(token)}' {why}"
    if len(text) > MAX_FIELD:
        return f"'{_short(token)}' has more than {MAX_FIELD:,} characters: shorten it"
    return f"'{_short(token)}' holds a NUL" if "\0" in text else None


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= 40 else f"{name[:39]}…"


@lru_cache(maxsize=1024)
def _is_token(name: str) -> bool:
    # Asked of the reader of templates: to it, `for` and `range` are no tokens either.
    return name.isidentifier() and [use.name for use in find_tokens(f"{{{{ {name} }}}}")] == [name]


def _no_email(header: list[str], columns: tuple[str, ...]) -> str:
    near = get_close_matches("email", columns, 1) or [name for name in columns if "mail" in name]
    if near:
        return f"no column is called email: rename '{_short(header[columns.index(near[0])])}'"
    named = ", ".join(f"'{_short(name)}'" for name in header[:8])
    more = f" and {len(header) - 8} more" if len(header) > 8 else ""
    return f"no column is called email: there are {named}{more}"


def _person(line: int, cells: list[str], columns: tuple[str, ...]) -> PersonRow | Rejected:
    values = dict(zip(columns, cells, strict=False))
    written = values.pop("email", "")
    if any(cells[len(columns) :]):
        reason = (
            f"it has {len(cells)} fields, the header {len(columns)}:"
            " put a field that holds the delimiter in quotes"
        )
        return Rejected(line, written, reason)
    if not written:
        return Rejected(line, "", "no address")
    try:
        address = normalise_address(written)
    except BadAddress as error:
        return Rejected(line, written, f"malformed address: {error}")
    filled = {name: value for name, value in values.items() if value}
    zone = filled.pop("timezone", None)
    try:
        parse_zone(zone)
    except LaunchError as error:
        return Rejected(line, written, str(error))
    external_id = filled.pop("id", None)
    return PersonRow(line, address, filled, zone, external_id)


def _merged(first: PersonRow, later: PersonRow) -> PersonRow:
    return PersonRow(
        first.line,
        first.email,
        {**first.fields, **later.fields},
        later.timezone or first.timezone,
        later.external_id or first.external_id,
    )
