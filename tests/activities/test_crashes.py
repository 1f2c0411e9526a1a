"""Processes that send are killed at every point: a second attempt loses and doubles nothing."""

import asyncio
import json
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from activities.outcomes import InDoubt, SendEmail, Sent
from drumbeat.campaign.states import MessageState
from drumbeat.mail.sending import SmtpMailer
from tests.activities.world import World, campaign, email
from tests.deaths import Death
from tests.mail.servers import STALL, Doing, ScriptedServer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
async def smtp(world: World, server: ScriptedServer) -> AsyncIterator[World]:
    mailer = SmtpMailer()
    world.mailer = mailer
    await world.staff(server.mailbox())
    yield world
    await mailer.close()


async def sending(
    world: World,
    server: ScriptedServer,
    point: Death | None,
    *sends: SendEmail,
    prepare: Callable[[Process], None] = lambda _: None,
) -> Process:
    """A process that has begun to send; `prepare` is called before it begins."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.activities.crashing",
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=PIPE,
        stdout=PIPE,
    )
    told = {
        "url": world.store._url.render_as_string(hide_password=False),
        "now": world.clock().isoformat(),
        "port": server.port,
        "point": point,
        "sends": [send.model_dump(mode="json") for send in sends],
    }
    assert process.stdin is not None
    assert process.stdout is not None
    prepare(process)
    process.stdin.write(json.dumps(told).encode())
    process.stdin.close()
    assert await process.stdout.readline() == b"ready\n"
    return process


async def begin(world: World) -> tuple[Any, SendEmail]:
    walk = (await world.enroll(campaign(email(), email()))).due()
    return walk, walk.asking()


@pytest.mark.parametrize(
    "point", [Death.BEFORE_INTENT, Death.AFTER_INTENT, Death.BEFORE_MARK, Death.IN_MARK]
)
async def test_killed_before_the_mark_it_is_sent_by_the_second_attempt(
    smtp: World, server: ScriptedServer, point: Death
) -> None:
    walk, send = await begin(smtp)
    process = await sending(smtp, server, point, send)
    assert await process.wait() == -signal.SIGKILL
    assert server.received == []
    assert isinstance(await walk.again(), Sent)
    assert len(server.received) == 1
    assert await walk.state_of(1) == MessageState.SENT


@pytest.mark.parametrize("point", [Death.AFTER_MARK, Death.AFTER_250])
async def test_killed_after_the_mark_it_is_in_doubt_and_stays_so(
    smtp: World, server: ScriptedServer, point: Death
) -> None:
    walk, send = await begin(smtp)
    process = await sending(smtp, server, point, send)
    assert await process.wait() == -signal.SIGKILL
    for _ in range(2):
        assert await walk.again() == InDoubt()
    assert len(server.received) == point.copies
    assert await walk.state_of(1) == MessageState.IN_DOUBT
    assert await walk.happened() == ["in_doubt"]


async def test_killed_after_its_record_it_is_not_handed_over_again(
    smtp: World, server: ScriptedServer
) -> None:
    walk, send = await begin(smtp)
    process = await sending(smtp, server, Death.AFTER_RECORD, send)
    assert await process.wait() == -signal.SIGKILL
    connections = server.connections
    assert isinstance(await walk.again(), Sent)
    assert len(server.received) == 1
    assert server.connections == connections


@pytest.mark.parametrize("phase", ["CONNECT", "EHLO", "MAIL", "RCPT"])
async def test_killed_while_the_server_is_spoken_to_it_is_sent_by_the_second_attempt(
    smtp: World, server: ScriptedServer, phase: Any
) -> None:
    walk, send = await begin(smtp)
    server.on(phase, STALL)
    process = await sending(smtp, server, None, send)
    await server.reached[phase].wait()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    server.behave()
    assert isinstance(await walk.again(), Sent)
    assert len(server.received) == 1


@pytest.mark.parametrize("phase", ["DATA", "CONTENT"])
async def test_killed_from_data_on_it_is_in_doubt(
    smtp: World, server: ScriptedServer, phase: Any
) -> None:
    walk, send = await begin(smtp)
    server.on(phase, STALL)
    process = await sending(smtp, server, None, send)
    await server.reached[phase].wait()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    server.behave()
    assert await walk.again() == InDoubt()
    assert server.received == []


async def test_killed_while_the_server_accepts_it_is_in_doubt(
    smtp: World, server: ScriptedServer
) -> None:
    def kill_and_accept(process: Process) -> None:
        server.on("CONTENT", lambda _: process.send_signal(signal.SIGKILL))

    walk, send = await begin(smtp)
    process = await sending(smtp, server, None, send, prepare=kill_and_accept)
    await process.wait()
    assert await walk.again() == InDoubt()
    assert len(server.received) == 1


@pytest.mark.parametrize("seed", range(2))
async def test_killed_at_any_moment_none_is_lost_and_none_is_doubled_silently(
    smtp: World, server: ScriptedServer, seed: int
) -> None:
    what = campaign(email(), email())
    walks = [(await smtp.enroll(what, f"p{number}@example.org")).due() for number in range(12)]
    sends = [walk.asking() for walk in walks]
    fatal, seen = random.Random(seed).randint(1, 20), 0

    def kill_at_random(process: Process) -> None:
        def count(_: str) -> Doing | None:
            nonlocal seen
            seen += 1
            if seen == fatal:
                process.send_signal(signal.SIGKILL)
            return None

        server.on("RCPT", count)
        server.on("CONTENT", count)

    process = await sending(smtp, server, None, *sends, prepare=kill_at_random)
    await process.wait()
    assert seen >= fatal
    server.behave()
    for walk in walks:
        await walk.again()
    copies = Counter(received.recipients[0] for received in server.received)
    for walk in walks:
        state = await walk.state_of(1)
        assert state in (MessageState.SENT, MessageState.IN_DOUBT)
        assert copies[walk.address] <= 1
        if state is MessageState.SENT:
            assert copies[walk.address] == 1
    doubts = [walk for walk in walks if await walk.state_of(1) is MessageState.IN_DOUBT]
    # One for each connection, and those whose answer was just being recorded.
    assert len(doubts) <= len(walks) // 2
