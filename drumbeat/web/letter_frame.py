"""A letter as a page of its own, in which a rep edits it: isolated, without scripts.

The page around it cannot be reached from what a template or a rep has written: the document has a
content security policy of its own, stands in a sandboxed frame, and is cleaned on the server.
"""

import re
from html import escape, unescape

from fastapi.responses import HTMLResponse

from drumbeat.mail.composing import UNSUBSCRIBE_LINE, clean_draft
from drumbeat.web.texts import texts

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox allow-same-origin"
)
"""`allow-same-origin` lets the page around it read what was typed; scripts stay forbidden."""

_TAG = re.compile(r"(<[^>]*>)")
_COLOURED = re.compile(r"<[^>]*\b(?:color|background|bgcolor)\b", re.IGNORECASE)
_PROMPT = re.compile(r"\{\{!([^{}]*)\}\}")
_STYLE = """
:root { color-scheme: light dark; }
:root[data-theme="light"] { color-scheme: light; }
:root[data-theme="dark"] { color-scheme: dark; }
html { background: light-dark(#fff, oklch(0.22 0.009 240)); overflow: auto hidden; }
body { margin: 0; padding: 4px 20px 12px; color: light-dark(oklch(0.245 0.016 240), oklch(0.945 0.005 90));
  font: 400 14px/1.6 -apple-system, BlinkMacSystemFont, "Segoe UI", Inter, Roboto, "Noto Sans", system-ui, sans-serif;
  overflow-wrap: anywhere; }
#letter { outline: none; max-width: 46rem; min-height: 6rem; }
p { margin: 0 0 0.7em; }
a { color: light-dark(oklch(0.455 0.082 215), oklch(0.79 0.09 205)); }
img { max-width: 100%; height: auto; }
mark.drumbeat-prompt { background: light-dark(oklch(0.955 0.045 88), oklch(0.3 0.042 80));
  color: light-dark(oklch(0.455 0.095 68), oklch(0.85 0.1 85)); border-radius: 3px; padding: 0.1em 0.35em;
  font-weight: 500; box-shadow: inset 0 -1px 0 currentColor; box-decoration-break: clone; -webkit-box-decoration-break: clone; }
mark.drumbeat-prompt.is-at { outline: 2px solid light-dark(oklch(0.55 0.12 225), oklch(0.8 0.1 205)); outline-offset: 2px; }
.drumbeat-fine { margin: 0 0 1em; font-size: 12px; color: light-dark(oklch(0.515 0.014 240), oklch(0.7 0.01 90)); }
.drumbeat-quoted { max-width: 44rem; margin: 0; padding: 0 0 0 16px; border-inline-start: 2px solid light-dark(oklch(0.845 0.008 90), oklch(0.385 0.012 240));
  color: light-dark(oklch(0.425 0.016 240), oklch(0.79 0.008 90)); font-size: 13px; }
.drumbeat-src { font-size: 12px; color: light-dark(oklch(0.515 0.014 240), oklch(0.7 0.01 90)); }
@media (max-width: 640px) { body { padding-inline: 16px; font-size: 16px; } }
"""  # noqa: E501 (a style sheet)


def editor(html: str, *, quoted: str | None, unsubscribe_url: str, theme: str | None) -> str:
    """The document of the editor.

    Args:
        html: The letter's own text.
        quoted: The email that is appended below it; None: none.
        unsubscribe_url: The person's; where the letter does not name it, the line is shown that is
            added when it is sent.
        theme: The user's; None: the system's.
    """
    if _COLOURED.search(html) or _COLOURED.search(quoted or ""):
        theme = "light"  # colours that were chosen for white paper
    t = texts()
    parts = [f'<div id="letter">{with_prompts(clean_draft(html))}</div>']
    if quoted is not None:
        source = escape(t("compose.quoted"))
        parts.append(
            f'<div class="drumbeat-quoted"><p class="drumbeat-src">{source}</p>'
            f"{clean_draft(quoted)}</div>"
        )
    if unsubscribe_url not in html and escape(unsubscribe_url) not in html:
        link = "<u>unsubscribe</u>"
        parts.append(f'<p class="drumbeat-fine">{escape(UNSUBSCRIBE_LINE)}: {link}</p>')
    theme_of = f' data-theme="{escape(theme)}"' if theme else ""
    return (
        f'<!doctype html><html lang="en"{theme_of}><head><meta charset="utf-8">'
        f"<title>{escape(t('compose.body'))}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>"
    )


def framed(document: str) -> HTMLResponse:
    """A document that may stand in a frame of this site, and can do nothing."""
    headers = {"Content-Security-Policy": POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(document, headers=headers)


def with_prompts(html: str) -> str:
    """The HTML with its field prompts marked, as the editor shows them.

    >>> with_prompts("<p>{{! price }} a seat</p>")
    '<p><mark class="drumbeat-prompt" data-prompt="price">price</mark> a seat</p>'
    """

    def mark(match: re.Match[str]) -> str:
        text = " ".join(unescape(match[1]).split())
        shown = escape(text)
        return f'<mark class="drumbeat-prompt" data-prompt="{shown}">{shown}</mark>'

    pieces = _TAG.split(html)
    return "".join(piece if piece.startswith("<") else _PROMPT.sub(mark, piece) for piece in pieces)
