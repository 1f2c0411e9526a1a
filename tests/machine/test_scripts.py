"""The scripts behind the Makefile: one clear line where something is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from drumbeat.machine.build import ROOT
from tests.machine.test_build import program


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / script, *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("")
    return path


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with the system's tools that the scripts use, and nothing else, for the path."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "ls", "cmp", "date", "rm", "tail", "cp"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


def test_a_missing_python_is_one_line(requirements: Path, tools: Path) -> None:
    done = run("environment", str(tools / "venv"), str(requirements), PATH=str(tools))
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is missing")
    assert done.stderr.count("\n") == 1


def test_an_older_python_is_passed_over(requirements: Path, tools: Path) -> None:
    program(tools / "python3", "exit 1")
    done = run("environment", str(tools / "venv"), str(requirements), PATH=str(tools))
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is missing")


def test_a_python_that_cannot_make_environments_is_told_what_to_install(
    requirements: Path, tools: Path
) -> None:
    program(tools / "python3", '[ "$1" = -c ] && exit 0; echo "No module named ensurepip"; exit 1')
    done = run("environment", str(tools / "venv"), str(requirements), PATH=str(tools))
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
    assert "No module named ensurepip" in done.stderr
    assert not (tools / "venv").exists()


def test_an_environment_is_made_again_only_when_its_requirements_change(
    requirements: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "venv"
    folder.joinpath("bin").mkdir(parents=True)
    program(folder / "bin" / "python", f'echo "$*" >> {tmp_path}/calls')
    first = run("environment", str(folder), str(requirements))
    assert first.returncode == 0
    assert first.stdout.startswith(f"making {folder}")
    assert "--require-hashes" in (tmp_path / "calls").read_text()
    again = run("environment", str(folder), str(requirements))
    assert (again.returncode, again.stdout) == (0, "")
    requirements.write_text("# changed\n")
    assert run("environment", str(folder), str(requirements)).stdout.startswith("making")


def test_packages_that_only_root_can_install_are_named(tools: Path) -> None:
    program(tools / "id", "echo 1000")
    (tools / "ls").unlink()
    program(tools / "ls", "exit 1")
    done = run("test-packages", PATH=str(tools))
    assert done.returncode == 1
    packages = "postgresql-15 dovecot-imapd chromium"
    assert done.stderr == f"the tests need these Debian packages: install {packages}\n"
