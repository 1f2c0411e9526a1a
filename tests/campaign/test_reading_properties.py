"""Whatever is done to a campaign file, reading it gives a campaign or faults in order."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drumbeat.campaign.reading import Reading, read_campaign
from tests.campaign.reading_folder import folder
from tests.campaign.test_reading import EXAMPLE

__all__ = ["folder"]
pytestmark = pytest.mark.usefixtures("folder")

PIECES = st.sampled_from(
    [
        *("[", "]", "{", "}", ":", ": ", "- ", "\n", "  ", "\t", "'", '"', "|", ">", "&a ", "*a"),
        *("!x ", "#", "{{", "}}", "{{!", "{%", "{#", "---\n", "%YAML 1.1\n", "<<: *a", "? "),
        *("null", "5", "\0", "\r", "\u2028", "\ufeff", "é", "email", "send: choose", "my_x"),
    ]
)
# Of each edit: where, how much is cut, and what is put there.
EDITS = st.lists(
    st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 40), PIECES), min_size=1, max_size=4
)


def check(reading: Reading) -> None:
    assert (reading.campaign is None) == bool(reading.faults)
    for found in (reading.faults, reading.warnings):
        own = [(fault.line, fault.column) for fault in found if fault.file == "c.yaml"]
        assert own == sorted(own)
        for fault in found:
            assert fault.line >= 1 and fault.column >= 1
            assert fault.message and "\n" not in fault.message


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for at, cut, piece in edits:
        text = text[:at] + piece + text[at + cut :]
    return text


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(EDITS)
def test_an_edited_campaign_file(edits: list[tuple[int, int, str]]) -> None:
    Path("c.yaml").write_text(edited(EXAMPLE, edits), newline="")
    check(read_campaign("c.yaml"))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(EDITS)
def test_an_edited_template(edits: list[tuple[int, int, str]]) -> None:
    template = "---\nsubject: Hello {{ first_name }}\n---\n<p>Hello {{ company }}</p>\n"
    edits = [(at % len(template), cut, piece) for at, cut, piece in edits]
    Path("templates/intro.html").write_text(edited(template, edits), newline="")
    Path("c.yaml").write_text(EXAMPLE)
    check(read_campaign("c.yaml"))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    Path("c.yaml").write_bytes(content)
    check(read_campaign("c.yaml"))
