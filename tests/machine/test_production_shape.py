"""The production shape of docker-compose.yml, run natively: a campaign goes through it."""

import asyncio
import email
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drumbeat.machine.build import ROOT
from drumbeat.machine.parts import Part, Running
from drumbeat.machine.temporal import free_ports
from drumbeat.machine.up import WORKER_READY
from tests.postgres import Cluster
from tests.production import command, run_job, temporal_on_postgres, variables

PEOPLE = 12
CAMPAIGN = """\
campaign: shape
name: The production shape
days:
  - day: 1
    steps:
      - email: { subject: "Hello {{ first_name }}", body: "<p>Hello.</p>" }
        send: choose
      - call: Ask about the weather
      - email: { subject: "Thank you", body: "<p>Thank you.</p>" }
        send: same_time
"""
REPS = """\
reps:
  - email: grace@example.com
    name: Grace Hopper
    mailbox:
      smtp: smtp://127.0.0.1:{port}
      batch: none
      daily: none
"""
SECRETS = {
    "POSTGRES_PASSWORD": "any",
    "DRUMBEAT_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
    "DRUMBEAT_BASE_URL": "https://drumbeat.example",
    "DRUMBEAT_REPS": "unused",
}


class Production:
    """Drumbeat's own services, with the variables and commands of docker-compose.yml."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment

    @asynccontextmanager
    async def running(self, name: str, **ready: Any) -> AsyncIterator[Running]:
        """A service that runs; `ready` says when it does."""
        service = name.split("-")[0]
        part = Part(name, command(service), self.environment, **ready)
        running = Running(part, self.folder, print)
        await running.start()
        try:
            await asyncio.wait_for(running.ready(), 30)
            yield running
        finally:
            running.kill()
            await running.stop()

    async def starter(self, *arguments: str) -> Any:
        """What `starter.py … --json` prints."""
        starter = (sys.executable, str(ROOT / "starter.py"))
        return json.loads(await run_job((*starter, *arguments, "--json"), self.environment))

    async def until(self, arguments: tuple[str, ...], condition: Any) -> Any:
        """Ask again until the answer is as awaited; that answer."""
        while True:
            answer = await self.starter(*arguments)
            if condition(answer):
                return answer
            await asyncio.sleep(0.2)


@asynccontextmanager
async def production(cluster: Cluster, folder: Path) -> AsyncIterator[Production]:
    """PostgreSQL, Temporal in it, the jobs done, and a mail server."""
    async with AsyncExitStack() as stack:
        temporal = await stack.enter_async_context(temporal_on_postgres(cluster, folder))
        smtp_port, web_port = free_ports(2)
        (folder / "reps.yaml").write_text(REPS.format(port=smtp_port))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            **variables("worker", SECRETS),
            "DRUMBEAT_DATABASE_URL": cluster.url(cluster.create_database("drumbeat")),
            "DRUMBEAT_REPS": str(folder / "reps.yaml"),
            "DRUMBEAT_HOME": str(folder / "home"),
            "DRUMBEAT_WEB_PORT": str(web_port),
            **temporal.environment,
        }
        await run_job(command("migrate"), environment)
        mail = Part(
            "mail",
            (
                sys.executable,
                *("-m", "drumbeat.mail.local"),
                *("--port", str(smtp_port), "--maildir", str(folder / "mail")),
            ),
            environment,
            port=smtp_port,
        )
        running = Running(mail, folder, print)
        await running.start()
        stack.push_async_callback(running.stop)
        await running.ready()
        yield Production(folder, environment)


def letters(folder: Path) -> list[tuple[str, str]]:
    """The recipient and the subject of each email that the mail server has got."""
    found = [email.message_from_bytes(path.read_bytes()) for path in folder.glob("mail/new/*")]
    return [(str(message["To"]), str(message["Subject"])) for message in found]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_campaign_runs_through_though_one_of_two_workers_is_killed(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)
    rows = [f"person{n}@example.org,Person {n},+1 555 0100" for n in range(PEOPLE)]
    (tmp_path / "people.csv").write_text("\n".join(["email,first_name,phone", *rows]) + "\n")
    async with (
        production(postgres_cluster, tmp_path) as shape,
        shape.running("worker-1", ready_line=WORKER_READY) as first,
        shape.running("worker-2", ready_line=WORKER_READY),
        shape.running("web", port=int(shape.environment["DRUMBEAT_WEB_PORT"])),
    ):
        enrolled = await shape.starter(
            *("enroll", str(tmp_path / "campaign.yaml")),
            *("--people", str(tmp_path / "people.csv")),
            *("--rep", "grace@example.com", "--send-at", "now"),
        )
        assert enrolled["enrolled"] == PEOPLE
        tasks = await shape.until(("task", "list"), lambda tasks: len(tasks) == PEOPLE)
        first.kill()  # both hold about half of the workflows
        await first.stop()
        for task in tasks:
            await shape.starter("task", "complete", str(task["id"]))
        shown = await shape.until(
            ("campaign", "show", "shape"), lambda shown: shown["running"] == 0
        )
    assert sum(shown["ended"].values()) == PEOPLE
    assert Counter(subject for _, subject in letters(tmp_path)) == {
        **{f"Hello Person {n}": 1 for n in range(PEOPLE)},
        "Thank you": PEOPLE,
    }
    assert set(Counter(to for to, _ in letters(tmp_path)).values()) == {2}
