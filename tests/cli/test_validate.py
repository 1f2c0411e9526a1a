import json
from pathlib import Path

import pytest

from drumbeat.cli.app import main
from tests.campaign.reading_folder import STEPS, folder

__all__ = ["folder"]
pytestmark = pytest.mark.usefixtures("folder")


def campaign(text: str) -> None:
    Path("c.yaml").write_text(text)


def test_a_file_without_faults_is_one_line_and_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    campaign(STEPS + "  - {email: intro, send: choose}\n  - call: x\n")
    assert main(["validate", "c.yaml"]) == 0
    assert capsys.readouterr() == ("a: 2 steps on 1 day, ok\n", "")


def test_every_fault_is_a_line_on_standard_error_and_status_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    campaign(STEPS + "  - {email: intr, send: 9:30}\n  - {call: x, notes: 5}\n")
    assert main(["validate", "./c.yaml"]) == 1
    assert capsys.readouterr() == (
        "",
        "./c.yaml:6:13: 'email' names no template, as there is no templates/intr.html or "
        "templates/intr.txt: did you mean 'intro'?\n"
        "./c.yaml:6:25: 'send' is to be a time HH:MM with two digits each: write '09:30'\n"
        "./c.yaml:7:22: 'notes' is to be text: put '5' in quotes\n",
    )


def test_warnings_are_lines_on_standard_error_and_leave_the_status_0(
    capsys: pytest.CaptureFixture[str],
) -> None:
    campaign(STEPS + "  - {email: intro, send: choose}\n  - {email: intro, send: same_time}\n")
    assert main(["validate", "c.yaml"]) == 0
    assert capsys.readouterr() == (
        "a: 2 steps on 1 day, ok\n",
        "c.yaml:7:26: warning: 'send: same_time' on the first day sends at once, when it is "
        "reached\n",
    )


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    campaign(
        STEPS + "  - {email: intro, send: choose}\n  - {email: intro, send: same_time, nots: x}\n"
    )
    assert main(["validate", "c.yaml", "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "ok": False,
        "faults": [
            {
                "file": "c.yaml",
                "line": 7,
                "column": 37,
                "message": "unknown key 'nots' in a step: did you mean 'notes'?",
            }
        ],
        "warnings": [
            {
                "file": "c.yaml",
                "line": 7,
                "column": 26,
                "message": "'send: same_time' on the first day sends at once, when it is reached",
            }
        ],
    }
    assert shown.err == ""
    campaign(STEPS + "  - call: x\n")
    assert main(["validate", "c.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "faults": [], "warnings": []}


def test_a_file_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "none.yaml"]) == 1
    assert capsys.readouterr() == ("", "none.yaml:1:1: cannot be read: no such file or directory\n")


def test_without_a_file_it_is_a_matter_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate"]) == 2
    assert "CAMPAIGN" in capsys.readouterr().err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--help"]) == 0
    assert "starter.py validate examples/intro/campaign.yaml" in capsys.readouterr().out
