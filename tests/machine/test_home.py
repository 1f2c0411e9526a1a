import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from drumbeat.machine.build import ROOT
from drumbeat.machine.home import HomeRefused, locked, note_server_version, secret_key


def test_a_second_up_is_told_who_holds_the_home(tmp_path: Path) -> None:
    with locked(tmp_path):
        second = (
            "from pathlib import Path\n"
            "from drumbeat.machine.home import *\n"
            "try:\n"
            f"    with locked(Path({str(tmp_path)!r})): pass\n"
            "except HomeRefused as error: print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", second], cwd=ROOT, capture_output=True, text=True, check=True
        )
    assert f"in use by another `up`, process {os.getpid()}" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_a_home_can_be_locked_again_after_its_holder(tmp_path: Path) -> None:
    with locked(tmp_path / "deep" / "home"):
        pass
    with locked(tmp_path / "deep" / "home"):
        assert (tmp_path / "deep" / "home" / "logs").is_dir()


def test_a_home_that_cannot_be_written_is_one_line_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeRefused, match="DRUMBEAT_HOME") as raised, locked(tmp_path / "file/x"):
        pass
    assert "\n" not in str(raised.value)


def test_a_read_only_home_is_refused() -> None:
    with pytest.raises(HomeRefused, match="cannot be written"), locked(Path("/proc/drumbeat")):
        pass


def test_the_secret_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = secret_key(tmp_path)
    assert len(key) >= 32
    assert secret_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


def test_an_older_server_than_the_noted_one_is_refused(tmp_path: Path) -> None:
    note_server_version(tmp_path, (1, 32, 0))
    note_server_version(tmp_path, (1, 100, 2))
    with pytest.raises(HomeRefused, match=r"written by Temporal server 1\.100\.2.*is 1\.32\.0"):
        note_server_version(tmp_path, (1, 32, 0))
    assert (tmp_path / "temporal.version").read_text() == "1.100.2\n"
