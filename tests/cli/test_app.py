"""The one door: how any command ends, whatever it does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclopts import App

from drumbeat.cli import app
from drumbeat.cli.app import COMMANDS, DONE, FAILED, INTERRUPTED, USAGE, main
from drumbeat.cli.errors import CommandRefused
from drumbeat.cli.output import say

ROOT = Path(__file__).parents[2]


@pytest.fixture
def invent(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], None]:
    """Makes a function the command `invented`."""

    def make(function: Callable[..., object]) -> None:
        commands = App(name="invented", help="Invented.")
        commands.default(function)
        module = type(sys)("tests.invented")
        module.commands = commands  # type: ignore[attr-defined]  # a module made here
        monkeypatch.setitem(sys.modules, "tests.invented", module)
        monkeypatch.setattr(app, "COMMANDS", {**COMMANDS, "invented": "tests.invented"})

    return make


Invent = Callable[[Callable[..., object]], None]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == DONE
    printed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"│ {name} " in printed


def test_without_a_command_help_is_shown_and_nothing_was_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == USAGE
    assert "Usage: starter.py COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == DONE
    assert f"Usage: starter.py {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["dance"], "dance"),
        (["task", "dance"], "dance"),
        (["task", "list", "--dance"], "--dance"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    arguments: list[str], wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert wrong in printed.err
    assert "--help" in printed.err


def test_a_command_may_return_its_status(invent: Invent) -> None:
    def quiet() -> None:
        """Do nothing."""

    invent(quiet)
    assert main(["invented"]) == DONE

    async def refuse() -> int:
        """Refuse."""
        return 1

    invent(refuse)
    assert main(["invented"]) == FAILED


def test_every_fault_is_a_line_on_standard_error(
    invent: Invent, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        """Refuse."""
        raise CommandRefused("a.yaml:1:1: no", "a.yaml:2:1: nor this")

    invent(refuse)
    assert main(["invented"]) == FAILED
    assert capsys.readouterr() == ("", "a.yaml:1:1: no\na.yaml:2:1: nor this\n")


def test_ctrl_c_ends_in_one_word(invent: Invent, capsys: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        """Be stopped."""
        raise KeyboardInterrupt

    invent(stop)
    assert main(["invented"]) == INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"


def test_of_the_modules_only_the_one_that_is_asked_for_is_imported() -> None:
    program = (
        "import sys; from drumbeat.cli.app import main; main(['validate', '--help']);"
        "print([m for m in sys.modules if m.startswith('temporalio') or m == 'drumbeat.cli.task'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "starter.py", "--help"],
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_say_into_the_void_ends_the_command_quietly(
    invent: Invent, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    def speak() -> None:
        """Speak."""
        say("hello")

    invent(speak)
    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(["invented"]) == DONE
