"""The texts of the pages, in one place for each language: `en/PAGE.toml`, read once."""

import tomllib
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


class Texts:
    """The texts of one language: `t("tasks.title")`, `t("tasks.selected", n=3)`."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def __call__(self, key: str, **values: object) -> str:
        """A text with its values filled in.

        Raises:
            KeyError: There is no such text: a slip of whoever wrote the page.
        """
        text = self._texts[key]
        return text.format(**values) if values else text


@cache
def texts(language: str = "en") -> Texts:
    """All texts of a language, by `PAGE.NAME`."""
    found: dict[str, str] = {}
    for path in sorted((_HERE / language).glob("*.toml")):
        for name, text in tomllib.loads(path.read_text(encoding="utf-8")).items():
            found[f"{path.stem}.{name}"] = text
    return Texts(found)
