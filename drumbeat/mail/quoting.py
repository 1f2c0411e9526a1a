"""The copy of an earlier email that a follow-up appends, as a mail program quotes it (SPEC 4)."""

import re
from dataclasses import dataclass
from datetime import datetime
from html import escape, unescape
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import nh3

from drumbeat.campaign.model import Frozen
from drumbeat.campaign.templates import Body
from drumbeat.mail.headers import clean_name

_TAGS = nh3.ALLOWED_TAGS | {"font", "main"}
_ATTRIBUTES = {tag: set(names) for tag, names in nh3.ALLOWED_ATTRIBUTES.items()}
_ATTRIBUTES["*"] = _ATTRIBUTES.get("*", set()) | {
    *("align", "bgcolor", "border", "cellpadding", "cellspacing", "class", "color", "dir"),
    *("face", "height", "lang", "size", "style", "title", "valign", "width"),
}
_ATTRIBUTES["blockquote"] = _ATTRIBUTES.get("blockquote", set()) | {"type"}
_SCHEMES = {"http", "https", "mailto", "tel", "cid"}

_LINE_ENDS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "br", "center", "dd", "div", "dl", "dt"),
        *("footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol", "p"),
        *("pre", "section", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
    }
)
_VOID = frozenset({"area", "br", "col", "hr", "img", "wbr"})
_PROMPT = re.compile(r"\{\{!.*?\}\}", re.DOTALL)
_EMPTY = re.compile(r"<(p|div|li|h[1-6])\b[^>]*>\s*</\1>\s*")
_ONE_PIXEL = re.compile(r"\s*0*[01](?:px)?\s*")
_STYLED_AS_PIXEL = re.compile(r"(?:^|;)\s*(?:width|height)\s*:\s*0*[01](?:px)?\s*(?:;|!|$)", re.I)
_STYLE = "margin:0 0 0 0.8ex;border-left:1px solid #ccc;padding-left:1ex"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Quote(Frozen):
    """An earlier email as it is appended, its own appended copy within."""

    html: str
    text: str


def clean_draft(html: str) -> str:
    """Return the HTML that a rep wrote as mail may carry it: balanced, without scripts.

    >>> clean_draft('<p style="color:red">Hi<script>alert(1)</script><b>you')
    '<p style="color:red">Hi<b>you</b></p>'
    """
    return nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes=_SCHEMES, link_rel=None)


def quote(
    body: Body,
    quoted: Quote | None,
    *,
    sent_at: datetime,
    zone: ZoneInfo,
    sender: str,
    unsubscribe_url: str,
    tracking_url: str | None = None,
) -> Quote:
    """Return the copy of an email for the one that follows it.

    Args:
        body: What its template gave, before any edit.
        quoted: What it appended itself.
        sent_at: When it was sent.
        zone: The zone in which that moment is told.
        sender: The rep's name, or their address where there is none.
        unsubscribe_url: The person's link; lines around it are left out.
        tracking_url: Where tracking pixels come from; those are left out, as are images of one
            pixel.
    """
    attribution = _attribution(sent_at.astimezone(zone), sender)
    html = _quotable_html(body.html, unsubscribe_url, tracking_url)
    text = _quotable_text(body.text, unsubscribe_url)
    if quoted is not None:
        html, text = f"{html}\n{quoted.html}", f"{text}\n\n{quoted.text}"
    lines = (f"> {line}" if line else ">" for line in text.split("\n"))
    return Quote(
        html=f"<div>{escape(attribution)}</div>\n"
        f'<blockquote type="cite" style="{_STYLE}">\n{html}\n</blockquote>',
        text="\n".join([attribution, *lines]),
    )


def _attribution(at: datetime, sender: str) -> str:
    # Not strftime: its names follow the machine's language.
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"On {day}, {at.day} {month} {at.year} at {at:%H:%M}, {clean_name(sender)} wrote:"


def _quotable_text(text: str, unsubscribe_url: str) -> str:
    kept = [line for line in text.split("\n") if not _holds(line, unsubscribe_url)]
    text = _PROMPT.sub("", "\n".join(kept))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", f"{text}\n")).strip("\n")


def _quotable_html(html: str, unsubscribe_url: str, tracking_url: str | None) -> str:
    reader = _Reader()
    reader.feed(_PROMPT.sub("", clean_draft(html)))
    reader.close()
    pieces = [piece for piece in reader.pieces if not piece.is_pixel(tracking_url)]
    html = "".join(piece.raw for piece in _without_lines(pieces, unsubscribe_url))
    while (fewer := _EMPTY.sub("", html)) != html:
        html = fewer
    return html.strip()


def _holds(text: str, url: str) -> bool:
    return bool(url) and url in text


@dataclass(frozen=True, slots=True)
class _Piece:
    """A tag or a run of text."""

    raw: str
    shown: str = ""
    """The text, or the values of a tag's attributes, entities resolved."""
    start: str | None = None
    end: str | None = None
    attributes: tuple[tuple[str, str | None], ...] = ()

    @property
    def ends_line(self) -> bool:
        return (self.start or self.end) in _LINE_ENDS

    def is_pixel(self, tracking_url: str | None) -> bool:
        """Whether it is an image that counts who looks."""
        if self.start != "img":
            return False
        values = {name: value or "" for name, value in self.attributes}
        if tracking_url and values.get("src", "").startswith(tracking_url):
            return True
        sizes = [values[name] for name in ("width", "height") if name in values]
        tiny = bool(sizes) and all(_ONE_PIXEL.fullmatch(size) for size in sizes)
        return tiny or len(_STYLED_AS_PIXEL.findall(values.get("style", ""))) == 2


class _Reader(HTMLParser):
    """Takes cleaned HTML apart; its pieces joined are that HTML again."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.pieces: list[_Piece] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        shown = " ".join(value or "" for _, value in attrs)
        raw = self.get_starttag_text() or ""
        self.pieces.append(_Piece(raw, shown, start=tag, attributes=tuple(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.pieces.append(_Piece(f"</{tag}>", end=tag))

    def handle_data(self, data: str) -> None:
        self.pieces.append(_Piece(data, data))

    def handle_entityref(self, name: str) -> None:
        self.pieces.append(_Piece(f"&{name};", unescape(f"&{name};")))

    def handle_charref(self, name: str) -> None:
        self.pieces.append(_Piece(f"&#{name};", unescape(f"&#{name};")))


def _without_lines(pieces: list[_Piece], url: str) -> list[_Piece]:
    """Leave out the lines that hold the link: what stands between two ends of a line."""
    kept: list[_Piece] = []
    line: list[_Piece] = []
    for piece in [*pieces, None]:
        if piece is not None and not piece.ends_line:
            line.append(piece)
            continue
        # The line's own text, and its links apart: a link is not part of any text around it.
        texts = ["".join(part.shown for part in line if not part.start)]
        texts += [part.shown for part in line if part.start]
        left_out = any(_holds(text, url) for text in texts)
        if left_out and kept and kept[-1].start == "br":
            kept.pop()  # else two lines' ends would stand together
        elif left_out and piece is not None and piece.start == "br":
            piece = None
        kept += _open_tags(line) if left_out else line
        line = []
        if piece is not None:
            kept.append(piece)
    return kept


def _open_tags(line: list[_Piece]) -> list[_Piece]:
    """Return the tags that only begin or only end in a line: the rest of the copy needs them."""
    begun: list[_Piece] = []
    ended: list[_Piece] = []
    for piece in line:
        if piece.start and piece.start not in _VOID:
            begun.append(piece)
        elif piece.end and begun:
            begun.pop()
        elif piece.end:
            ended.append(piece)
    return ended + begun
