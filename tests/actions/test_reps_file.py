"""A reps file that changes while a process runs."""

import os
from pathlib import Path

import pytest

from drumbeat.actions.reps_file import RepsFileFaulty, open_reps
from drumbeat.settings import Settings
from drumbeat.store import reps as table
from drumbeat.store.engine import Store

ONE = """\
reps:
  - email: grace@example.com
    name: Grace Hopper
    mailbox: {smtp: smtp://127.0.0.1:2525}
"""
TWO = ONE + ONE.partition("\n")[2].replace("grace@", "alan@").replace("Grace Hopper", "Alan Turing")


def write(path: Path, text: str, at: int) -> None:
    path.write_text(text)
    os.utime(path, (at, at))


async def test_a_rep_who_is_added_is_known_without_a_restart(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "reps.yaml"
    write(path, ONE, 1)
    file = await open_reps(Settings(reps=path), store)
    reps = file.reps
    assert not await file.look()
    write(path, TWO, 2)
    assert await file.look()
    assert [rep.email for rep in reps] == ["grace@example.com", "alan@example.com"]
    async with store.read() as tx:
        assert [row.email for row in await table.every(tx)] == [
            "alan@example.com",
            "grace@example.com",
        ]


async def test_a_file_with_faults_changes_nothing_and_is_said_once(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "reps.yaml"
    write(path, ONE, 1)
    file = await open_reps(Settings(reps=path), store)
    write(path, "reps: [}", 2)
    with pytest.raises(RepsFileFaulty):
        await file.look()
    assert not await file.look()
    assert [rep.email for rep in file.reps] == ["grace@example.com"]
    path.unlink()
    with pytest.raises(RepsFileFaulty, match=r"reps\.yaml"):
        await file.look()
    write(path, TWO, 3)
    assert await file.look()
    assert len(file.reps) == 2
