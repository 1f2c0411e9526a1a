"""Reads the file that DRUMBEAT_REPS names, or says everything that is wrong with it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit
from zoneinfo import available_timezones

from email_validator import EmailNotValidError, validate_email
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from drumbeat.reps.model import DEFAULT_BATCH, DEFAULT_DAILY, Limit, Mailbox, Rep, Server, Tls

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the file cannot be used, and where; printed as FILE:LINE:COLUMN: what and what else."""

    file: str
    """As typed."""
    line: int
    column: int
    """Both from 1."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class RepsReading:
    """What a reps file says; where it has faults, it is not to be used."""

    reps: tuple[Rep, ...]
    """In the file's order, without those that have faults."""
    faults: tuple[Fault, ...]
    """All of them, in the file's order."""


def read_reps(path: Path, *, local_smtp: str | None = None) -> RepsReading:
    """Read and check the whole reps file; no fault stops the reading.

    Args:
        path: The file, as typed.
        local_smtp: Where a mailbox that names no server sends, such as smtp://127.0.0.1:2525; None
            where no local mail server runs, so that each mailbox has to name one.
    """
    reader = _Reader(path, local_smtp)
    reps = reader.read()
    faults = sorted(reader.faults, key=lambda fault: (fault.line, fault.column))
    return RepsReading(tuple(reps), tuple(faults))


_LARGEST_FILE = 1 << 20
_NULL = "tag:yaml.org,2002:null"
_REP_KEYS = ["email", "name", "title", "phone", "timezone", "signature", "reply_to", "mailbox"]
_MAILBOX_KEYS = [
    "smtp",
    "imap",
    "password_env",
    "password_file",
    "batch",
    "daily",
    "first_emails_per_day",
]
_BATCH = re.compile(r"(\d{1,9}) in (\d{1,9}) ?([smh])")
_SPANS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_THIS_MACHINE = {"127.0.0.1", "localhost", "::1"}
_PORTS = {
    ("smtp", Tls.IMPLICIT): 465,
    ("smtp", Tls.STARTTLS): 587,
    ("smtp", Tls.NONE): 25,
    ("imap", Tls.IMPLICIT): 993,
    ("imap", Tls.STARTTLS): 143,
    ("imap", Tls.NONE): 143,
}
_NEVER_HERE = (
    "a password never stands in this file: put it into an environment variable and name that "
    "with 'password_env', or into a file and name that with 'password_file'"
)


class _Unusable(Exception):
    """A value with a fault; the message says what is wrong and what would be right."""


def _server(kind: str, text: str) -> Server:
    """The server that a URL names; `kind` is smtp or imap.

    Raises:
        _Unusable: It names none.
    """
    shape = f"write {kind}s://USER@HOST or {kind}://USER@HOST, with :PORT where it is unusual"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise _Unusable(f"{error}: {shape}") from error
    if url.scheme not in (kind, f"{kind}s") or not url.hostname or port == 0:
        raise _Unusable(f"no address of a mail server: {shape}")
    if url.password is not None:
        raise _Unusable(_NEVER_HERE)
    if url.path.strip("/") or url.query or url.fragment:
        raise _Unusable(f"nothing may stand behind the host and port: {shape}")
    if url.scheme == f"{kind}s":
        tls = Tls.IMPLICIT
    else:
        tls = Tls.NONE if url.hostname in _THIS_MACHINE else Tls.STARTTLS
    user = unquote(url.username) if url.username else None
    return Server(url.hostname, port or _PORTS[kind, tls], tls, user)


def _smtp(text: str) -> Server:
    return _server("smtp", text)


def _imap(text: str) -> Server:
    return _server("imap", text)


def _address(text: str) -> str:
    try:
        found = validate_email(
            text, check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except EmailNotValidError as error:
        raise _Unusable(f"no email address that can be used: {error}") from error
    return (found.ascii_email or found.normalized).lower()


def _zone(text: str) -> str:
    if text in available_timezones():
        return text
    near = get_close_matches(text, available_timezones(), 1)
    hint = f"did you mean {near[0]}?" if near else "write an IANA name such as America/New_York"
    raise _Unusable(f"unknown time zone {text!r}: {hint}")


def _line(text: str) -> str:
    text = text.strip()  # a folded value ends in a line break
    if not text or any(ord(character) < 32 or character == "\x7f" for character in text):
        raise _Unusable("to be one line of text, without control characters")
    return text


def _variable(text: str) -> str:
    if not _ENVIRONMENT_NAME.fullmatch(text):
        raise _Unusable(
            "no name of an environment variable, which is made of letters, digits and '_'; "
            "the password itself never stands here"
        )
    return text


def _number(text: str) -> int | None:
    if text == "none":
        return None
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise _Unusable("to be a whole number from 1, or none")
    return int(text)


def _batch(text: str) -> Limit | None:
    if text == "none":
        return None
    found = _BATCH.fullmatch(text)
    if not found or not int(found[1]) or not int(found[2]):
        raise _Unusable("to be written like '25 in 45s' (s, m or h), or none")
    return Limit(int(found[1]), int(found[2]) * _SPANS[found[3]])


class _Reader:
    """Reads one file, and collects its faults."""

    def __init__(self, path: Path, local_smtp: str | None) -> None:
        self.faults: list[Fault] = []
        self._path = path
        self._local_smtp = local_smtp

    def _fault(self, node: Node | None, message: str) -> None:
        mark = node.start_mark if node is not None else None
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        self.faults.append(Fault(str(self._path), line, column, message))

    def read(self) -> list[Rep]:
        """The reps without faults."""
        root = self._compose()
        if root is None:
            return []
        entries = self._mapping(root, ["reps"], required=["reps"], what="the file")
        if "reps" not in entries:
            return []
        key, listed = entries["reps"]
        if not isinstance(listed, SequenceNode) or not listed.value:
            self._fault(key, "'reps' is to be a list with at least one rep, each begun with '-'")
            return []
        reps: list[Rep] = []
        lines: dict[str, int] = {}
        for node in listed.value:
            rep = self._rep(node, lines)
            if rep is not None:
                reps.append(rep)
        return reps

    def _compose(self) -> Node | None:
        """The file's YAML as nodes, which know where they stand; aliases are not expanded."""
        try:
            with self._path.open("rb") as file:
                content = file.read(_LARGEST_FILE + 1)
        except OSError as error:
            self._fault(None, f"{error.strerror}: DRUMBEAT_REPS is to name the file of reps")
            return None
        if len(content) > _LARGEST_FILE:
            self._fault(None, "more than 1 MiB: a reps file is smaller")
            return None
        try:
            root: Node | None = YAML(typ="safe", pure=True).compose(content.decode("utf-8-sig"))
        except UnicodeDecodeError:
            self._fault(None, "not a text file in UTF-8: save it as such")
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            message = f"no YAML that can be read: {error.problem or error.context}"
            self.faults.append(Fault(str(self._path), line, column, message))
        except YAMLError as error:
            self._fault(None, f"no YAML that can be read: {str(error).splitlines()[0]}")
        except RecursionError:
            self._fault(None, "no YAML that can be read: nested too deeply")
        else:
            if root is None:
                self._fault(None, "the file is empty: it is to hold 'reps:' and a list")
            return root
        return None

    def _mapping(
        self, node: Node, known: Sequence[str], required: Sequence[str], what: str
    ) -> dict[str, tuple[Node, Node]]:
        """The known keys of a mapping with their values; the rest are faults."""
        if not isinstance(node, MappingNode):
            keys = ", ".join(required) or ", ".join(known)
            self._fault(node, f"{what} is to be a mapping with the keys {keys}")
            return {}
        found: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            name: str = key.value if isinstance(key, ScalarNode) else "?"
            if name == "password":
                self._fault(key, _NEVER_HERE)
            elif name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                self._fault(key, f"unknown key {name!r} in {what}: {hint}")
            elif name in found:
                self._fault(key, f"{name!r} stands twice: leave one out")
            else:
                found[name] = (key, value)
        for name in required:
            if name not in found:
                self._fault(node, f"{what} lacks {name!r}")
        return found

    def _value(
        self,
        entries: dict[str, tuple[Node, Node]],
        name: str,
        parse: Callable[[str], T],
        default: D,
    ) -> T | D:
        """The value of a key, parsed; `default` where it is left out or has a fault."""
        if name not in entries:
            return default
        key, value = entries[name]
        if not isinstance(value, ScalarNode):
            self._fault(value, f"{name!r} is to be a single value")
            return default
        if value.tag == _NULL:
            self._fault(key, f"{name!r} is empty: fill it in, or leave the line out")
            return default
        try:
            return parse(value.value)
        except _Unusable as unusable:
            self._fault(value, f"{name!r}: {unusable}")
            return default

    def _rep(self, node: Node, lines: dict[str, int]) -> Rep | None:
        before = len(self.faults)
        entries = self._mapping(node, _REP_KEYS, required=["email", "name"], what="a rep")
        if not entries:
            return None
        email = self._value(entries, "email", _address, "")
        if email in lines:
            self._fault(
                entries["email"][1],
                f"this rep stands in line {lines[email]} already: leave one out",
            )
        elif email:
            lines[email] = entries["email"][1].start_mark.line + 1
        mailbox = self._mailbox(node, entries, email)
        name = self._value(entries, "name", _line, "")
        title = self._value(entries, "title", _line, None)
        phone = self._value(entries, "phone", _line, None)
        timezone = self._value(entries, "timezone", _zone, None)
        signature = self._value(entries, "signature", str, None)
        reply_to = self._value(entries, "reply_to", _address, None)
        if mailbox is None or len(self.faults) > before:
            return None
        return Rep(email, name, mailbox, title, phone, timezone, signature, reply_to)

    def _mailbox(
        self, rep: Node, outer: dict[str, tuple[Node, Node]], address: str
    ) -> Mailbox | None:
        where, entries = rep, {}
        if "mailbox" in outer:
            where, value = outer["mailbox"]
            if value.tag != _NULL:  # 'mailbox:' alone: all of it is left to the defaults
                entries = self._mapping(value, _MAILBOX_KEYS, required=[], what="a mailbox")
        smtp = self._value(entries, "smtp", _smtp, None)
        if "smtp" not in entries:
            if self._local_smtp is None:
                self._fault(
                    where,
                    "the mailbox lacks 'smtp', such as smtps://USER@HOST; only 'up' has a local "
                    "mail server to fall back on",
                )
            else:
                smtp = _smtp(self._local_smtp)
        imap = self._value(entries, "imap", _imap, None)
        password_env = self._value(entries, "password_env", _variable, None)
        password_file = self._value(entries, "password_file", self._beside, None)
        self._check_password(where, entries, [server for server in (smtp, imap) if server])
        batch = self._value(entries, "batch", _batch, DEFAULT_BATCH)
        daily = self._value(entries, "daily", _number, DEFAULT_DAILY)
        first_emails = self._value(entries, "first_emails_per_day", _number, None)
        if smtp is None:
            return None
        return Mailbox(address, smtp, imap, password_env, password_file, batch, daily, first_emails)

    def _beside(self, text: str) -> Path:
        return self._path.parent / _line(text)

    def _check_password(
        self, where: Node, entries: dict[str, tuple[Node, Node]], servers: list[Server]
    ) -> None:
        named = [entries[name][0] for name in ("password_env", "password_file") if name in entries]
        has_user = any(server.user for server in servers)
        if len(named) == 2:
            self._fault(named[1], "'password_env' and 'password_file' exclude each other")
        if named and servers and not has_user:
            self._fault(named[0], "a password without a user: write USER@ before the host's name")
        if has_user and not named:
            self._fault(
                where, "a mailbox without password: name it with 'password_env' or 'password_file'"
            )
