"""How a command that did not go well ends: in lines that say what to do, without data."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError
from temporalio.service import RPCError, RPCStatusCode

from drumbeat.actions.errors import ActionError, NotFound
from drumbeat.campaign.planning import LaunchError
from drumbeat.cli.errors import CommandRefused, report
from drumbeat.reps import MailboxError
from drumbeat.settings import Settings
from drumbeat.store.errors import DatabaseUnreachable, StoreError
from drumbeat.temporal.client import TemporalUnreachable


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRUMBEAT_HOME", str(tmp_path))
    monkeypatch.delenv("DRUMBEAT_DEBUG", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "kind",
    [
        ActionError,
        NotFound,
        LaunchError,
        MailboxError,
        StoreError,
        DatabaseUnreachable,
        TemporalUnreachable,
    ],
)
def test_what_is_foreseen_is_its_own_words_in_one_line(kind: type[Exception]) -> None:
    assert report(kind("it cannot be done:\n  do this")) == ["it cannot be done: do this"]


def test_several_faults_are_a_line_each() -> None:
    assert report(CommandRefused("one", "two")) == ("one", "two")


def test_temporals_trouble_names_its_code_and_no_data() -> None:
    error = RPCError("secret details", RPCStatusCode.UNAVAILABLE, b"")
    assert report(error) == ["Temporal did not do it (UNAVAILABLE): try again"]


def test_a_wrong_setting_is_named_as_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRUMBEAT_WEB_PORT", "99999")
    with pytest.raises(ValidationError) as wrong:
        Settings()
    [line] = report(wrong.value)
    assert line.startswith("DRUMBEAT_WEB_PORT: Input should be less than")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError) as wrong:
        (tmp_path / "none.csv").read_text()
    assert report(wrong.value) == [f"{tmp_path / 'none.csv'}: no such file or directory"]


def test_what_nobody_foresaw_is_an_incident_whose_note_holds_no_data(home: Path) -> None:
    try:
        int("ada@example.org")
    except ValueError as error:
        [line] = report(error)
    assert line.startswith("unexpected trouble (ValueError), incident ")
    assert "ada" not in line
    note = (home / "logs" / "incidents.log").read_text()
    assert line.split("incident ")[1][:8] in note
    assert "builtins.ValueError" in note
    assert "ada@example.org" not in note.replace('int("ada@example.org")', "")


def test_where_no_note_can_be_written_the_line_says_how_to_see_more(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("DRUMBEAT_HOME", str(home / "file"))
    [line] = report(ValueError("x"))
    assert line.endswith("run it again with DRUMBEAT_DEBUG=1 to see where")


def test_with_debugging_on_the_traceback_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "DRUMBEAT_DEBUG", "1")
    [text] = report(ValueError("all of it"))
    assert text.endswith("ValueError: all of it")
