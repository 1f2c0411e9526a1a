"""Reads the text files of a campaign, none of them larger than one can be."""

import os
import re
import stat

from drumbeat.campaign.faults import Unusable

LARGEST_FILE = 1 << 20
"""Bytes: SPEC section 2."""

_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_text_file(path: str, *, instead: str) -> str:
    """The text of a file in UTF-8, its lines parted by line feeds alone.

    Args:
        path: The file.
        instead: What to name in place of a folder.

    Raises:
        Unusable: It is missing, a folder, too large or no text, or may not be read.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise Unusable(f"this is a folder: {instead}")
        if not stat.S_ISREG(mode):  # a pipe or a device may never end
            raise Unusable(f"this is no file: {instead}")
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Unusable(f"cannot be read: {_reason(error)}") from error
    except ValueError as error:  # a path with a NUL
        raise Unusable(f"cannot be read: {error}") from error
    if len(content) > LARGEST_FILE:
        raise Unusable("more than 1 MiB: a campaign's files of text are smaller")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unusable("no text in UTF-8: save it as such") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def control_character(text: str) -> re.Match[str] | None:
    """The first character that no text holds."""
    return _CONTROL.search(text)


def no_text(character: str) -> str:
    r"""What to call such a character.

    >>> no_text("\0")
    'a control character (U+0000)'
    """
    return f"a control character (U+{ord(character):04X})"
