from pathlib import Path

import pytest

from drumbeat.cli.app import main
from drumbeat.machine import up as machine


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[bool]:
    """What was started, instead of starting it: with the example or not."""
    calls: list[bool] = []

    async def up(_: object, *, example: bool) -> int:
        calls.append(example)
        return 0

    monkeypatch.setattr(machine, "up", up)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DRUMBEAT_REPS", raising=False)
    return calls


def test_without_reps_nothing_is_started_and_one_line_says_what_would_help(
    started: list[bool], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("reps.yaml:1:1: No such file or directory: ")
    assert line.endswith("`starter.py up --example` has reps of its own")
    assert started == []


def test_every_fault_of_the_reps_file_is_a_line(
    started: list[bool], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("reps.yaml").write_text("reps:\n- {email: grace, name: Grace}\n- {name: Alan}\n")
    assert main(["up"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert started == []


def test_with_reps_or_with_the_examples_it_starts(started: list[bool]) -> None:
    assert main(["up", "--example"]) == 0
    Path("reps.yaml").write_text("reps:\n- {email: grace@example.com, name: Grace Hopper}\n")
    assert main(["up"]) == 0
    assert started == [True, False]
