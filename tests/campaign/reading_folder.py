"""A folder with templates, in which tests write campaign files."""

from pathlib import Path

import pytest

from drumbeat.campaign.reading import Reading, read_campaign, warning_line

TEMPLATES = {
    "intro.html": "---\nsubject: Hello {{ first_name }}\n---\n<p>Hello</p>\n",
    "case-study.html": "---\nsubject: How others do it\n---\n<p>So</p>\n",
    "bump.txt": "Did you see this?\n",
    "prompt.html": "---\nsubject: Hello\n---\n<p>Hi</p>\n<p>{{! a word on them }}</p>\n",
}

SETTINGS = "campaign: a\nname: A\ndays: [{day: 1, steps: [{call: x}]}]\nsettings:\n"
"""Whose first setting is to stand in line 5, indented."""
STEPS = "campaign: a\nname: A\ndays:\n- day: 1\n  steps:\n"
"""Whose first step is to stand in line 6, indented by two."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the templates in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "templates").mkdir()
    for name, content in TEMPLATES.items():
        (tmp_path / "templates" / name).write_text(content)
    return tmp_path


def read(text: str | bytes, file: str = "c.yaml") -> Reading:
    Path(file).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_campaign(Path(file))


def faults(text: str | bytes) -> list[str]:
    """The faults of a campaign file, without its name where they lie in it."""
    return [str(fault).removeprefix("c.yaml:") for fault in read(text).faults]


def warnings(text: str) -> list[str]:
    """The warnings of a campaign file that has no faults."""
    reading = read(text)
    assert reading.faults == ()
    return [warning_line(warning).removeprefix("c.yaml:") for warning in reading.warnings]
