"""From a template and a person's data to subject and body; pure and unbounded in time.

Where a template comes from a manager, render it through `drumbeat.mail.rendering`, which stops
what does not end.
"""

import html as html_module
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from types import TracebackType

import jinja2
from inscriptis import get_text  # type: ignore[import-untyped]  # ships no types
from inscriptis.model.config import ParserConfig  # type: ignore[import-untyped]
from jinja2.exceptions import SecurityError
from markupsafe import Markup

from drumbeat.campaign.model import Frozen, Template
from drumbeat.campaign.tokens import (
    KNOWN_TOKENS,
    OTHER_TOKENS,
    PERSON_FIELDS,
    REP_FIELDS,
    Fallback,
    MissingTokenError,
    Prompt,
    SourceFault,
    TokenUse,
    check_source,
    environment,
    find_prompts,
    find_tokens,
    token_uses,
    without_prompts,
)

__all__ = [
    "KNOWN_TOKENS",
    "MAX_OUTPUT",
    "MAX_SUBJECT",
    "OTHER_TOKENS",
    "PERSON_FIELDS",
    "REP_FIELDS",
    "Body",
    "BrokenTemplate",
    "MissingData",
    "OutputTooLong",
    "Prompt",
    "RenderingFailed",
    "SourceFault",
    "TemplateError",
    "TokenUse",
    "append_html",
    "check_source",
    "check_typed",
    "clean_subject",
    "context",
    "find_prompts",
    "find_tokens",
    "missing_tokens",
    "prompts_left",
    "render",
    "text_of",
]

MAX_OUTPUT = 1_000_000
"""Characters that a rendered body may have."""
MAX_SUBJECT = 255
"""Characters that a rendered subject may have; Salesforce takes no more either."""

_FALLBACKS = {
    "first_name": Fallback(""),
    "last_name": Fallback(""),
    "title": Fallback(""),
    "company": Fallback("your company"),
}
"""Tokens that block no email; only rendering fills them in, as a template's default goes first."""
_ENVIRONMENTS = {True: environment(autoescape=True), False: environment(autoescape=False)}
# Two characters that Unicode keeps for use inside programs stand around a prompt's number while
# Jinja, which cannot read a prompt, renders what is around it.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_PLACE = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0\ufdd1\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BREAK = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufdd0\ufdd1\ufffe\uffff]+")
_LEFT_PROMPT = re.compile(r"\{\{!(.*?)\}\}", re.DOTALL)
_LINKS = ParserConfig(display_links=True)
_SAME_LINK = re.compile(r"\[(\S+)\]\(\1\)")


class TemplateError(Exception):
    """A template that cannot become an email; the text names neither person nor data."""


class BrokenTemplate(TemplateError):
    """The source has a fault that `check_source` names."""


class RenderingFailed(TemplateError):
    """The template's own computation failed."""


class OutputTooLong(TemplateError):
    """The rendered text passes the bound."""


class Body(Frozen):
    """A rendered email's own text, signature included; no quoted email, no unsubscribe line."""

    subject: str | None
    """None where the template has none: a follow-up that stays in its thread."""
    html: str
    text: str


class MissingData(Frozen):
    """The tokens without a value, in the order of the template: the email is blocked."""

    tokens: tuple[str, ...]


def context(
    person_fields: Mapping[str, str],
    rep_fields: Mapping[str, str],
    campaign: str,
    unsubscribe_url: str,
) -> dict[str, str]:
    """Return the values of all tokens, those without a value left out (SPEC section 4).

    Args:
        person_fields: The person's fields and extra columns, by token.
        rep_fields: The rep's, by token (`my_name`, ...); `my_first_name` is taken from `my_name`
            where it is not given.
        campaign: The campaign's name.
        unsubscribe_url: The signed link of this person.
    """
    values = {
        name: value
        for name, value in person_fields.items()
        if value.strip() and not name.startswith("my_")
    }
    values |= {name: value for name, value in rep_fields.items() if value.strip()}
    if "my_first_name" not in values and "my_name" in values:
        values["my_first_name"] = values["my_name"].split()[0]
    others = {"campaign": campaign, "unsubscribe_url": unsubscribe_url}
    return values | {name: value for name, value in others.items() if value.strip()}


def missing_tokens(template: Template, available: Collection[str]) -> tuple[str, ...]:
    """Return every token of subject and body that has neither a value nor a default, in order."""
    uses = token_uses(template.subject or "") + token_uses(template.body)
    missing = [
        use.name
        for use in uses
        if not use.has_default and use.name not in available and use.name not in _FALLBACKS
    ]
    return tuple(dict.fromkeys(missing))


def render(template: Template, context: Mapping[str, str]) -> Body | MissingData:
    """Return subject and body for the data, or the tokens that lack a value.

    Field prompts stay as `{{! text }}`, for the rep to replace.

    Raises:
        TemplateError: The source has a fault, its computation fails, or its output is too long.
    """
    if missing := missing_tokens(template, context):
        return MissingData(tokens=missing)
    values = _FALLBACKS | {name: _clean(value) for name, value in context.items()}
    try:
        subject = template.subject and clean_subject(
            _run("subject", template.subject, values, is_html=False)
        )
        html, text = (
            _html_body(template, values) if template.is_html else _text_body(template, values)
        )
    except MissingTokenError as error:  # in a branch that only rendering reaches
        return MissingData(tokens=(error.name,))
    return Body(subject=subject, html=html, text=text)


def _html_body(template: Template, values: Mapping[str, str]) -> tuple[str, str]:
    signature = values.get("my_signature", "")
    marked = {**values, "my_signature": _lines_as_html(signature)} if signature else values
    html = _run("body", template.body, marked, is_html=True).strip()
    if signature and not _places_signature(template):
        html = append_html(html, f"\n<p>{_lines_as_html(signature)}</p>")
    return html, text_of(html)


def _text_body(template: Template, values: Mapping[str, str]) -> tuple[str, str]:
    text = _run("body", template.body, values, is_html=False).strip("\n").rstrip()
    signature = values.get("my_signature", "").strip()
    if signature and not _places_signature(template):
        text = f"{text}\n\n{signature}"
    paragraphs = re.split(r"\n[ \t]*\n\s*", text)
    html = "\n".join(f"<p>{_lines_as_html(part)}</p>" for part in paragraphs if part.strip())
    return html, text


def _places_signature(template: Template) -> bool:
    return any(use.name == "my_signature" for use in token_uses(template.body))


def _lines_as_html(text: str) -> Markup:
    return Markup("<br>\n").join(text.strip().split("\n"))


def append_html(html: str, piece: str) -> str:
    """Return the HTML with a piece added at the end of what is shown, inside `body` if it has one.

    >>> append_html("<html><body><p>Hello</p></body></html>", "<p>Grace</p>")
    '<html><body><p>Hello</p><p>Grace</p></body></html>'
    """
    for tag in (r"</body\s*>", r"</html\s*>"):
        if ends := list(re.finditer(tag, html, re.IGNORECASE)):
            return html[: ends[-1].start()] + piece + html[ends[-1].start() :]
    return html + piece


@lru_cache(maxsize=256)
def _compiled(source: str, is_html: bool) -> tuple[jinja2.Template, tuple[str, ...]]:
    prompts = tuple(f"{{{{! {prompt.text} }}}}" for prompt in find_prompts(source))
    places = (f"{_OPEN}{number}{_CLOSE}" for number in range(len(prompts)))
    return _ENVIRONMENTS[is_html].from_string(without_prompts(source, places)), prompts


def _run(part: str, source: str, values: Mapping[str, str], *, is_html: bool) -> str:
    """Return the rendered source, its prompts in place."""
    try:
        compiled, prompts = _compiled(source, is_html)
    except (jinja2.TemplateSyntaxError, RecursionError) as error:
        reason = getattr(error, "message", None) or "it is nested too deeply"
        raise BrokenTemplate(f"the {part} of the template does not parse: {reason}") from error
    pieces, length = [], 0
    try:
        for piece in compiled.generate(values):
            length += len(piece)
            if length > MAX_OUTPUT:
                break
            pieces.append(piece)
    except MissingTokenError:
        raise
    except Exception as error:
        # Whatever a template can compute can fail. The error's own words may hold a person's data;
        # the sandbox's name attributes only.
        words = f": {error}" if isinstance(error, SecurityError) else ""
        if isinstance(error, MemoryError):
            words = ": it needs more memory than it may have"
        where = f"line {_line_of(error.__traceback__)} of the {part}"
        raise RenderingFailed(
            f"the template fails in {where}: {type(error).__name__}{words}"
        ) from error
    if length > MAX_OUTPUT:
        raise OutputTooLong(
            f"the {part} of the template gives more than {MAX_OUTPUT:,} characters; make it shorter"
        )

    def prompt(match: re.Match[str]) -> str:
        text = prompts[int(match[1])]
        return html_module.escape(text, quote=False) if is_html else text

    rendered = "".join(pieces)
    return _clean(_PLACE.sub(prompt, rendered) if prompts else rendered)


def _line_of(traceback: TracebackType | None) -> int:
    line = 1
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _clean(text: str) -> str:
    """Return the text as mail can carry it: no control characters, no halves of characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", text))


def clean_subject(subject: str) -> str:
    r"""Return a subject as a header can carry it: one line, no control characters, not too long.

    >>> clean_subject("Hello\r\nBcc: eve@example.com ")
    'Hello Bcc: eve@example.com'
    """
    subject = _SURROGATE.sub("\ufffd", _BREAK.sub(" ", subject)).strip()
    return subject if len(subject) <= MAX_SUBJECT else subject[: MAX_SUBJECT - 1].rstrip() + "…"


def text_of(html: str) -> str:
    r"""Return the plain text of an HTML body, links written out.

    >>> text_of('<p>Hello,</p><p>see <a href="https://example.com">our page</a></p>')
    'Hello,\n\nsee [our page](https://example.com)'
    """
    text = _SAME_LINK.sub(r"\1", _clean(get_text(_clean(html), _LINKS)))
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")


def _texts(found: str) -> tuple[str, ...]:
    texts = (" ".join(text.split()) for text in _LEFT_PROMPT.findall(found))
    return tuple(dict.fromkeys(texts))


def prompts_left(body: Body) -> tuple[str, ...]:
    """Return the texts of the field prompts that still stand in a subject or a body, in order."""
    return _texts(f"{body.subject or ''}\n{html_module.unescape(body.html)}")


def check_typed(subject: str, html: str) -> str | None:
    """Return why what a rep typed may not be sent, or None: it is never rendered (SPEC section 4).

    Field prompts and other marks of a template that are left in it would reach the person as they
    stand.
    """
    # In a link, editors write braces as %7B.
    shown = re.sub("%7[bB]", "{", re.sub("%7[dD]", "}", html_module.unescape(html)))
    for part, typed in (("subject", subject), ("body", shown)):
        if prompts := _texts(typed):
            named = ", ".join(f'"{text}"' for text in prompts)
            noun = "field prompt" if len(prompts) == 1 else "field prompts"
            return f"replace the {noun} {named} in the {part} before sending"
        for mark in ("{{", "{%"):
            if mark in typed:
                return (
                    f'"{mark}" is left in the {part}: what is typed is sent as it stands, '
                    "so write the text itself"
                )
    return None
