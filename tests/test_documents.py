"""The documents are true: each command that they show works, and what they name exists."""

import asyncio
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree

import prometheus_client
import pytest
from temporalio.client import Client

import activities.metrics
import drumbeat.actions.watching
from drumbeat.cli.app import COMMANDS, main
from drumbeat.machine.temporal import free_ports
from drumbeat.settings import Settings
from tests import documents
from tests.documents import ROOT, Command, Ids
from tests.machine.test_up import KEPT
from tests.temporal_server import built

METRICS = (activities.metrics, drumbeat.actions.watching)

_ENDLESS = "it runs until it is stopped; tests/machine/test_production_shape.py starts it"
_NO_ENGINE = "no container engine is at hand; tests/machine/test_compose.py reads the file"
_ITSELF = "what runs this test, or would run for longer than a test may"
NOT_RUN = {
    "make run": "it is `starter.py up --example`, which this test starts with ports of its own",
    "make test": _ITSELF,
    "make setup": _ITSELF,
    "make check": _ITSELF,
    "make bench": _ITSELF,
    "make storm": _ITSELF,
    ".venv/bin/pytest -q tests/campaign/test_calendar.py": _ITSELF,
    ". .venv/bin/activate": "the commands run by the interpreter that runs this test",
    "scripts/environment .venv requirements.txt": "it installs packages; see tests/machine",
    "python worker.py": _ENDLESS,
    "python -m drumbeat.web --host 127.0.0.1": _ENDLESS,
    "cp .env.example .env": _NO_ENGINE,
    "docker compose up --detach --build": _NO_ENGINE,
    "docker compose exec worker python starter.py check": _NO_ENGINE,
    "python -m tests.histories.record completed": "it would write a recorded history anew",
}
"""The commands that are shown and not run, each with the reason."""

REFUSED = (
    "python starter.py task send 3f121073e144c14e-1",
    "python starter.py task complete 480f46eee8bc837c-2 --as edsger@example.com",
)
"""Commands that are shown to be refused, the first time that they stand there."""

PASSWORD = "correct horse battery staple"
PATIENCE = 30.0
"""Seconds until what a command has set in motion is to be seen."""
OTHER_VARIABLES = {"DRUMBEAT_DEBUG", "DRUMBEAT_UP"}


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody who has typed `make run`, and now types what the documents show."""

    folder: Path
    environment: dict[str, str]
    ids: Ids

    def type(self, command: str) -> tuple[int, str]:
        """Carry one command out: its exit status, and what it printed."""
        words = shlex.split(command)
        if words[:2] == ["python", "starter.py"]:
            return self._starter(words[2:])
        if words[:2] == ["python", "-m"]:
            return self._run(sys.executable, *words[1:], folder=ROOT)
        if words[0] == "temporal":
            return asyncio.run(self._signal(words[1:]))
        if words[0] == "curl":
            url = words[-1].replace(":8080/", f":{self.environment['DRUMBEAT_WEB_PORT']}/")
            with urllib.request.urlopen(url, timeout=10) as answer:
                return 0, answer.read().decode()
        assert words[0] == "ls", f"who runs {command!r}? Name it in NOT_RUN with the reason"
        return self._run(*words, folder=self.folder)

    def _starter(self, arguments: list[str]) -> tuple[int, str]:
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ:
                if name.startswith(("DRUMBEAT_", "TEMPORAL_")):
                    patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
            patch.setattr(sys, "stdout", printed)
            patch.setattr(sys, "stderr", printed)
            status = main(arguments)
        return status, printed.getvalue()

    def _run(self, *words: str, folder: Path) -> tuple[int, str]:
        done = subprocess.run(
            words,
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    async def _signal(self, words: list[str]) -> tuple[int, str]:
        """What `temporal workflow signal` does, which is not at hand here."""
        assert words[:2] == ["workflow", "signal"]
        options = dict(zip(words[2::2], words[3::2], strict=True))
        assert set(options) == {"--workflow-id", "--name", "--input"}
        client = await self.temporal()
        handle = client.get_workflow_handle(options["--workflow-id"])
        await handle.signal(options["--name"], json.loads(options["--input"]))
        return 0, ""

    async def temporal(self) -> Client:
        return await Client.connect(f"127.0.0.1:{self.environment['DRUMBEAT_TEMPORAL_PORT']}")


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    """`up --example` in a folder that looks like a checkout, on free ports, ready."""
    built()
    copytree(ROOT / "examples", tmp_path / "examples")
    names = ("WEB_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SMTP_PORT")
    ports = zip(names, free_ports(4), strict=True)
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {f"DRUMBEAT_{name}": str(port) for name, port in ports}
    environment["DRUMBEAT_HOME"] = str(tmp_path / "var")
    log = tmp_path / "up.log"
    with log.open("w") as output:
        up = subprocess.Popen(
            [sys.executable, ROOT / "starter.py", "up", "--example"],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 90
        while "ready" not in log.read_text().splitlines():
            assert up.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield Newcomer(tmp_path, environment, Ids())
        up.send_signal(signal.SIGTERM)
        assert up.wait(20) == 0, log.read_text()
    finally:
        up.kill()  # its parts die with it
        up.wait()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_command_shown_works_and_prints_what_is_shown(newcomer: Newcomer) -> None:
    for name, content in documents.files().items():
        path = newcomer.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    refused = set(REFUSED)
    for command in documents.commands():
        if command.text in NOT_RUN:
            continue
        _carry_out(newcomer, command, 1 if command.text in refused else 0)
        refused.discard(command.text)
    assert not refused
    asyncio.run(_ask_with_every_filter(newcomer))


def _carry_out(newcomer: Newcomer, command: Command, status: int) -> None:
    """Type a command, one that only looks again and again until it shows what is awaited."""
    moved = documents.dates_moved(command.text, datetime.now(UTC).date())
    typed = newcomer.ids.in_command(moved)
    only_looks = bool({"list", "show", "ls"} & set(typed.split()[:4]))
    deadline = time.monotonic() + PATIENCE
    while True:
        ended, printed = newcomer.type(typed)
        told = f"{command.place}: {typed}\nended with {ended} and printed:\n{printed}"
        assert ended == status, told
        lines = printed.splitlines()
        missing = [line for line in command.shown if not newcomer.ids.finds(line, lines)]
        if not missing:
            return
        shown = "\n".join(missing)
        assert only_looks and time.monotonic() < deadline, f"{told}\nand not\n{shown}"
        time.sleep(0.2)


async def _ask_with_every_filter(newcomer: Newcomer) -> None:
    client = await newcomer.temporal()
    asked = documents.filters()
    assert len(asked) > 4
    for query in asked:
        await client.count_workflows(query)  # raises where it is no query


def test_what_is_not_run_is_shown_and_has_a_reason() -> None:
    shown = {command.text for command in documents.commands()}
    assert set(NOT_RUN) <= shown
    assert set(REFUSED) <= shown
    assert all(NOT_RUN.values())


def test_every_make_target_shown_exists() -> None:
    targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines()}
    shown = {words for _, words in documents.code_words() if words.startswith("make ")}
    shown |= {command.text for command in documents.commands() if command.text[:5] == "make "}
    assert shown
    assert {words.split()[1] for words in shown} <= targets


def test_every_link_leads_somewhere() -> None:
    for document, target in documents.links():
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.is_relative_to(ROOT) and found.exists(), f"{document.name}: {target}"
        assert not anchor or anchor in documents.anchors(found), f"{document.name}: {target}"


def test_pictures_are_png_small_and_shown() -> None:
    shown = {(page.parent / target).resolve() for page, target in documents.links()}
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.read_bytes().startswith(b"\x89PNG"), picture.name
        assert picture.stat().st_size < 300_000, picture.name
        assert picture in shown, picture.name


def test_every_file_that_is_named_exists() -> None:
    tops = {path.name for path in ROOT.iterdir()}
    for place, words in documents.code_words():
        if " " not in words and words.split("/")[0] in tops - {"var"}:
            assert (ROOT / words).exists(), f"{place}: {words}"


def test_every_setting_that_is_named_exists_and_ops_know_them_all() -> None:
    known = {f"DRUMBEAT_{name.upper()}" for name in Settings.model_fields}
    named = {
        name
        for path in documents.documents()
        for name in re.findall(r"\bDRUMBEAT_[A-Z_]*[A-Z]", documents.text_of(path))
    }
    assert named - OTHER_VARIABLES <= known
    ops = documents.text_of(ROOT / "docs" / "ops.md")
    assert {name for name in known if f"| `{name}`" not in ops} == set()


def test_every_command_that_is_named_exists(capsys: pytest.CaptureFixture[str]) -> None:
    helps: dict[tuple[str, ...], str] = {}
    for place, words in documents.code_words():
        named = words.removeprefix("python ").removeprefix("starter.py ").split()
        if len(named) < 2 or named[0] not in COMMANDS or not named[1].isalpha():
            continue
        command = tuple(word for word in named[:2] if word.islower())
        if command not in helps:
            assert main([*command, "--help"]) == 0, f"{place}: {words}"
            helps[command] = capsys.readouterr().out
        options = {word for word in named[2:] if word.startswith("--")}
        assert all(option in helps[command] for option in options), f"{place}: {words}"
    assert len(helps) > 10


def test_every_metric_that_is_named_exists_and_ops_know_them_all() -> None:
    counted = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in prometheus_client.REGISTRY.collect()
        if metric.name.startswith("drumbeat_")
    }
    named = {words.split("{")[0] for _, words in documents.code_words() if words[:9] == "drumbeat_"}
    assert named == counted
