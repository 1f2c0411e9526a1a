"""What a template's source says before it is rendered: faults, field prompts, tokens (SPEC 4)."""

import difflib
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from jinja2 import (
    StrictUndefined,
    TemplateRuntimeError,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
    nodes,
    pass_context,
)
from jinja2.compiler import Frame
from jinja2.idtracking import VAR_LOAD_RESOLVE
from jinja2.meta import TrackingCodeGenerator
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

PERSON_FIELDS = ("first_name", "last_name", "email", "title", "company", "phone", "linkedin")
"""The person's own tokens; every other column of the CSV is one too."""
REP_FIELDS = ("my_name", "my_first_name", "my_email", "my_title", "my_phone", "my_signature")
"""The rep's tokens; nothing else may begin with `my_`."""
OTHER_TOKENS = ("campaign", "unsubscribe_url")
KNOWN_TOKENS = PERSON_FIELDS + REP_FIELDS + OTHER_TOKENS

_MARK = re.compile(r"\{#|\{\{!")
_TAG = re.compile(r"\{[{%#]")


@dataclass(frozen=True, slots=True)
class SourceFault:
    """What is wrong with a template's source; line and column count from 1."""

    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A field prompt, `{{! text }}`: what a rep must replace before sending."""

    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class TokenUse:
    """One place where a value is asked for; line and column count from 1."""

    name: str
    line: int
    column: int
    has_default: bool
    """Whether the email can do without a value: `default(...)`, or tested by `is defined`."""


class MissingTokenError(Exception):
    """A token without a value was met while rendering."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Strict(StrictUndefined):
    """Names the token that has no value, where it is one."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,  # whatever an attribute was asked of
        name: str | None = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:
        super().__init__(hint, obj, name, exc)
        if obj is missing and name is not None:
            # A property of no object is a token; the rest is the template's own mistake.
            self._undefined_exception = partial(_missing, name)  # type: ignore[assignment]  # it is only called


def _missing(name: str, _: str | None) -> MissingTokenError:
    return MissingTokenError(name)


@pass_context
def _as_it_is(_: Context, value: object) -> object:
    """Finalize values unchanged.

    Jinja computes constant output when it compiles, which would let `{{ "a" | center(10 ** 9) }}`
    act before rendering is bounded. A finalizer that needs the context forbids that.
    """
    return value


class Fallback(str):
    """What stands for a token without a value that blocks no email; a default goes before it."""

    __slots__ = ()


def _default(value: object, default_value: object = "", boolean: bool = False) -> object:
    """Return the default where there is no value of the data's own."""
    absent = isinstance(value, Fallback | Undefined) or (boolean and not value)
    return default_value if absent else value


def _is_defined(value: object) -> bool:
    return not isinstance(value, Fallback | Undefined)


def _is_undefined(value: object) -> bool:
    return not _is_defined(value)


def environment(*, autoescape: bool) -> ImmutableSandboxedEnvironment:
    """Return the sandbox in which templates run: strict, no loader, nothing random."""
    made = ImmutableSandboxedEnvironment(
        autoescape=autoescape, undefined=_Strict, finalize=_as_it_is, optimized=False
    )
    made.filters |= {"default": _default, "d": _default}
    made.tests |= {"defined": _is_defined, "undefined": _is_undefined}
    # The same data must give the same email, whenever it is rendered.
    del made.globals["lipsum"]
    del made.filters["random"]
    return made


_PARSER = environment(autoescape=True)


def _lines(source: str) -> str:
    """Return the source with line feeds alone, as Jinja counts lines."""
    return source.replace("\r\n", "\n").replace("\r", "\n")


class _Positions:
    """Turns offsets into lines and columns."""

    def __init__(self, source: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", source))]

    def at(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def without_prompts(source: str, replacements: Iterable[str] | None = None) -> str:
    """Return the source with each field prompt replaced, by blanks of the same size by default."""
    given = iter(replacements) if replacements is not None else None
    pieces, at = [], 0
    for prompt in _prompts(source):
        if prompt.end is not None:
            blanks = re.sub(r"[^\n]", " ", source[prompt.start : prompt.end])
            pieces += [source[at : prompt.start], blanks if given is None else next(given)]
            at = prompt.end
    return "".join([*pieces, source[at:]])


@dataclass(frozen=True, slots=True)
class _PromptAt:
    """Where a field prompt stands in a source."""

    start: int
    end: int | None
    """None: it has no end."""
    text: str


def _prompts(source: str) -> Iterator[_PromptAt]:
    """The field prompts of a source, in order; those within a comment are none.

    Each end is sought once: a source full of beginnings takes no longer than another one.
    """
    endless: set[str] = set()
    at = 0
    while begin := _MARK.search(source, at):
        at = begin.end()
        closing = "#}" if begin[0] == "{#" else "}}"
        end = -1 if closing in endless else source.find(closing, at)
        found = _PromptAt(begin.start(), None, "")
        if end < 0:
            endless.add(closing)
        else:
            found = _PromptAt(begin.start(), end + len(closing), source[at:end])
            at = end + len(closing)
        if closing == "}}":
            yield found


def find_prompts(source: str) -> list[Prompt]:
    """Return the field prompts of a subject or a body, in order.

    >>> find_prompts("Hello {{! a word about their last talk }}")
    [Prompt(text='a word about their last talk', line=1, column=7)]
    """
    source = _lines(source)
    positions = _Positions(source)
    return [
        Prompt(" ".join(prompt.text.split()), *positions.at(prompt.start))
        for prompt in _prompts(source)
        if prompt.end is not None
    ]


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _tree_faults(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name not in _PARSER.filters:
            near = _nearest(filtered.name, _PARSER.filters)
            yield filtered.lineno, f"there is no filter '{filtered.name}'{near}"
    for tested in tree.find_all(nodes.Test):
        if tested.name not in _PARSER.tests:
            near = _nearest(tested.name, _PARSER.tests)
            yield tested.lineno, f"there is no test '{tested.name}'{near}"
    for node in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        yield node.lineno, "a template stands alone: it cannot include, import or extend another"


def check_source(source: str) -> list[SourceFault]:
    """Return every fault that keeps a subject or a body from being rendered, in order."""
    source = _lines(source)
    positions = _Positions(source)
    lines = source.split("\n")

    def fault(line: int, message: str) -> SourceFault:
        # Jinja knows lines only: the line's first tag is the likely place.
        tag = _TAG.search(lines[line - 1]) if line <= len(lines) else None
        return SourceFault(line, tag.start() + 1 if tag else 1, message)

    faults = []
    for prompt in _prompts(source):
        if prompt.end is None:
            message = "the field prompt has no end; write {{! what to write here }}"
            return [SourceFault(*positions.at(prompt.start), message)]
        if "{{" in prompt.text or "{%" in prompt.text:
            message = "a field prompt is plain text: it cannot hold a token or a tag"
            faults.append(SourceFault(*positions.at(prompt.start), message))
    try:
        tree = _PARSER.parse(without_prompts(source))
        faults += [fault(line, message) for line, message in _tree_faults(tree)]
        if not faults:
            _Tokens().visit(tree)
    except TemplateSyntaxError as error:
        faults.append(fault(error.lineno, f"the template does not parse: {error.message}"))
    except RecursionError:
        faults.append(SourceFault(1, 1, "the template does not parse: it is nested too deeply"))
    return sorted(faults, key=lambda found: (found.line, found.column))


class _Tokens(TrackingCodeGenerator):
    """Collects the names that Jinja looks up in the data, by walking as its compiler does."""

    def __init__(self) -> None:
        super().__init__(_PARSER)
        self.optimizer = None  # it would compute what is constant
        self.reads: list[tuple[nodes.Name, bool]] = []
        """Every name that is read, in order, and whether it is a token."""
        self.with_default: set[nodes.Name] = set()
        self.tested: set[str] = set()
        self._assigned: set[str] = set()

    def visit_Name(self, node: nodes.Name, frame: Frame) -> None:
        if node.ctx == "load":
            load = frame.symbols.find_load(frame.symbols.ref(node.name))
            is_token = (
                load is not None
                and load[0] == VAR_LOAD_RESOLVE
                and node.name not in self._assigned
                and node.name not in _PARSER.globals
            )
            self.reads.append((node, is_token))
        super().visit_Name(node, frame)

    def visit_Assign(self, node: nodes.Assign, frame: Frame) -> None:
        super().visit_Assign(node, frame)
        self._assign(node.target)

    def visit_AssignBlock(self, node: nodes.AssignBlock, frame: Frame) -> None:
        super().visit_AssignBlock(node, frame)
        self._assign(node.target)

    def _assign(self, target: nodes.Node) -> None:
        # Jinja asks the data for a name that only some branches set. What is set is no token.
        names = [target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name)
        self._assigned |= {name.name for name in names if name.ctx == "store"}

    def visit_Filter(self, node: nodes.Filter, frame: Frame) -> None:
        if node.name in ("default", "d") and isinstance(node.node, nodes.Name):
            self.with_default.add(node.node)
        super().visit_Filter(node, frame)

    def visit_Test(self, node: nodes.Test, frame: Frame) -> None:
        if node.name in ("defined", "undefined") and isinstance(node.node, nodes.Name):
            self.tested.add(node.node.name)
        super().visit_Test(node, frame)


def _name_places(source: str) -> dict[tuple[str, int], list[int]]:
    """Return the columns at which each name may be looked up, by name and line."""
    positions = _Positions(source)
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    last: tuple[tuple[str, int], int] | None = None
    offset, before = 0, ""
    for _, kind, value in _PARSER.lex(source):
        # What Jinja strips around a tag is no part of any value: look for the next one.
        offset = source.index(value, offset)
        if kind == "name" and before not in (".", "|", "for", "set"):
            line, column = positions.at(offset)
            last = ((value, line), column)
            places[value, line].append(column)
        elif kind == "operator" and value == "=" and last is not None:
            places[last[0]].remove(last[1])  # the name of an argument or of `set`
        if kind != "whitespace":
            before = value
            if kind != "name":
                last = None
        offset += len(value)
    return places


@lru_cache(maxsize=512)
def token_uses(source: str) -> tuple[TokenUse, ...]:
    """Return what `find_tokens` does, remembered."""
    source = without_prompts(_lines(source))
    found = _Tokens()
    try:
        found.visit(_PARSER.parse(source))
        places = _name_places(source)
    except (TemplateSyntaxError, RecursionError):
        return ()  # `check_source` says why
    seen: dict[tuple[str, int], int] = defaultdict(int)
    uses = []
    for node, is_token in found.reads:
        key = (node.name, node.lineno)
        columns = places.get(key) or [1]
        column = columns[min(seen[key], len(columns) - 1)]
        seen[key] += 1
        if is_token:
            has_default = node in found.with_default or node.name in found.tested
            uses.append(TokenUse(node.name, node.lineno, column, has_default))
    return tuple(sorted(uses, key=lambda use: (use.line, use.column)))


def find_tokens(source: str) -> list[TokenUse]:
    """Return the tokens of a subject or a body, in order; none if the source does not parse.

    Names that the template sets itself, or loops over, are no tokens.

    >>> [use.name for use in find_tokens("{% for word in title %}{{ word }}{% endfor %}")]
    ['title']
    """
    return list(token_uses(source))
