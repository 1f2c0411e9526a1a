import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client

from activities.outcomes import InDoubt, Sent
from drumbeat.actions.delivery import Delivery
from drumbeat.actions.doubts import Doubts
from drumbeat.campaign.states import MessageState, State
from drumbeat.mail import composing
from drumbeat.mail.outcomes import Phase
from drumbeat.mail.rendering import Renderer
from drumbeat.mail.sent_folder import Looked, Trouble
from drumbeat.reps import Mailbox, Rep, Reps, Server, Tls
from drumbeat.store import keys, ledger
from drumbeat.store.engine import Store
from drumbeat.store.errors import StoreError
from tests.activities.world import Clock, Walk, World, campaign, email
from tests.histories import paths
from tests.mail import dovecot
from tests.mail.dovecot import PASSWORD, Dovecot, running_dovecot
from tests.mail.memory import MemoryMailer
from tests.office import Enrolled, Office, grace, open_office
from tests.waiting import until

IMAP = Server("127.0.0.1", 1, Tls.NONE, "somebody")
GRACE, ALAN = "grace@example.com", "alan@example.com"
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer() as running:
        yield running


@pytest.fixture
async def world(store: Store, renderer: Renderer) -> World:
    store._clock = clock = Clock()
    return World(store, clock, renderer)


@pytest.fixture
async def quick_world(sqlite_store: Store, renderer: Renderer) -> World:
    sqlite_store._clock = clock = Clock()
    return World(sqlite_store, clock, renderer)


def mailbox(address: str, imap: Server | None = IMAP) -> Mailbox:
    smtp = Server("127.0.0.1", 1, Tls.NONE)
    return Mailbox(address, smtp, imap, batch=None, daily=None)


async def reps_of(world: World, *mailboxes: Mailbox) -> Reps:
    async with world.store.read() as tx:
        key = await keys.people_key(tx)
    return Reps([Rep(box.address, box.address.partition("@")[0], box) for box in mailboxes], key)


async def in_doubt(
    world: World, address: str = "ada@example.org", *, rep: str = GRACE, steps: int = 2
) -> Walk:
    """An enrollment whose first email was cut off after DATA."""
    await world.staff(mailbox(rep), email=rep)
    walk = await world.enroll(campaign(*[email() for _ in range(steps)]), address)
    walk.due()
    world.memory.once(Phase.DATA)
    assert await walk.send() == InDoubt()
    return walk


class Folders:
    """Sent folders as a test wants them; looked into from threads."""

    def __init__(self) -> None:
        self.copies: dict[str, datetime] = {}
        self.trouble: dict[str, Trouble] = {}
        """Address of the mailbox to what is the matter with it."""
        self.looks: list[tuple[str, tuple[str, ...]]] = []

    def __call__(self, box: Mailbox, message_ids: Sequence[str]) -> Looked:
        self.looks.append((box.address, tuple(message_ids)))
        if box.address in self.trouble:
            return Looked(trouble=self.trouble[box.address])
        copies = {one: self.copies[one] for one in message_ids if one in self.copies}
        return Looked(copies, frozenset(message_ids) - frozenset(copies))


@pytest.fixture
def folders() -> Folders:
    return Folders()


async def test_an_email_whose_copy_is_found_was_sent_and_its_workflow_is_told(
    world: World, folders: Folders
) -> None:
    ada = await in_doubt(world)
    message = await ada.message()
    at = message.handing_over_at + timedelta(seconds=3)
    folders.copies[message.message_id] = at
    world.clock.advance(MINUTE)
    doubts = Doubts(world.store, await reps_of(world, mailbox(GRACE)), folders)
    assert await doubts.look_once() == 1
    found = await ada.message()
    assert (found.state, found.sent_at, found.why) == ("sent", at, None)
    assert found.answer == "found in the Sent folder"
    [told] = await world.outbox()
    assert told.kind == "late_answer"
    assert told.key == f"found/{ada.id}/1/1"
    assert told.payload == {"enrollment_id": ada.id, "step": 1, "at": at.isoformat()}
    assert await doubts.look_once() == 0
    assert len(folders.looks) == 1


async def test_an_email_that_was_found_is_never_sent_again(
    quick_world: World, folders: Folders
) -> None:
    ada = await in_doubt(quick_world)
    message = await ada.message()
    folders.copies[message.message_id] = message.handing_over_at
    await Doubts(quick_world.store, await reps_of(quick_world, mailbox(GRACE)), folders).look_once()
    attempts = quick_world.memory.attempts
    assert await ada.again() == Sent(at=message.handing_over_at)
    assert quick_world.memory.attempts == attempts


@pytest.mark.parametrize("wrong_by", [timedelta(hours=-3), timedelta(hours=3)])
async def test_a_server_with_a_wrong_clock_moves_nothing_out_of_reason(
    quick_world: World, folders: Folders, wrong_by: timedelta
) -> None:
    ada = await in_doubt(quick_world)
    message = await ada.message()
    folders.copies[message.message_id] = message.handing_over_at + wrong_by
    quick_world.clock.advance(MINUTE)
    await Doubts(quick_world.store, await reps_of(quick_world, mailbox(GRACE)), folders).look_once()
    sent_at = (await ada.message()).sent_at
    assert sent_at == (
        message.handing_over_at if wrong_by < timedelta(0) else quick_world.clock.now
    )


async def test_not_to_find_it_decides_nothing_and_is_tried_less_and_less_often(
    quick_world: World, folders: Folders
) -> None:
    ada = await in_doubt(quick_world)
    doubts = Doubts(quick_world.store, await reps_of(quick_world, mailbox(GRACE)), folders)
    begun = quick_world.clock.now
    looks = []
    while quick_world.clock.now <= begun + timedelta(hours=4):
        before = len(folders.looks)
        assert await doubts.look_once() == 0
        if len(folders.looks) > before:
            looks.append((quick_world.clock.now - begun) // MINUTE)
        quick_world.clock.advance(MINUTE)
    assert looks == [0, 1, 6, 36, 96, 156, 216]
    assert await ada.state_of() is MessageState.IN_DOUBT
    assert not await quick_world.outbox()


async def test_after_seven_days_it_is_left_to_its_rep(quick_world: World, folders: Folders) -> None:
    ada = await in_doubt(quick_world)
    message = await ada.message()
    doubts = Doubts(quick_world.store, await reps_of(quick_world, mailbox(GRACE)), folders)
    quick_world.clock.now = message.handing_over_at + timedelta(days=7) - MINUTE
    await doubts.look_once()
    assert len(folders.looks) == 1
    quick_world.clock.advance(2 * timedelta(hours=1))
    await doubts.look_once()
    assert len(folders.looks) == 1


@pytest.mark.parametrize("known", [[mailbox(GRACE, imap=None)], []])
async def test_a_mailbox_without_imap_is_left_to_its_rep(
    quick_world: World, folders: Folders, known: list[Mailbox]
) -> None:
    await in_doubt(quick_world)
    assert (
        await Doubts(quick_world.store, await reps_of(quick_world, *known), folders).look_once()
        == 0
    )
    assert not folders.looks


@pytest.mark.parametrize(
    "values",
    [
        {"state": MessageState.SCHEDULED, "handing_over_at": None},
        {"state": MessageState.SENT, "answer": "250 Ok"},
        {"state": MessageState.IN_DOUBT, "attempt": 2},
    ],
)
async def test_what_became_of_it_during_the_look_stays(
    world: World, folders: Folders, values: dict[str, Any]
) -> None:
    ada = await in_doubt(world)
    message = await ada.message()
    folders.copies[message.message_id] = message.handing_over_at
    loop = asyncio.get_running_loop()

    async def change() -> None:
        async with world.store.write() as tx:
            given = dict(values)
            await ledger.change(tx, message, world.clock(), given.pop("state"), **given)

    def look(box: Mailbox, message_ids: Sequence[str]) -> Looked:
        asyncio.run_coroutine_threadsafe(change(), loop).result()
        return folders(box, message_ids)

    assert await Doubts(world.store, await reps_of(world, mailbox(GRACE)), look).look_once() == 0
    after = await ada.message()
    assert {name: getattr(after, name) for name in values} == values
    assert not await world.outbox()


async def test_two_workers_that_find_it_tell_the_workflow_once(
    world: World, folders: Folders
) -> None:
    ada = await in_doubt(world)
    message = await ada.message()
    folders.copies[message.message_id] = message.handing_over_at
    reps = await reps_of(world, mailbox(GRACE))
    both = threading.Barrier(2)

    def look(box: Mailbox, message_ids: Sequence[str]) -> Looked:
        both.wait(20)
        return folders(box, message_ids)

    workers = [Doubts(world.store, reps, look) for _ in range(2)]
    assert sum(await asyncio.gather(*(worker.look_once() for worker in workers))) == 1
    assert len(await world.outbox()) == 1


async def test_a_later_attempt_in_doubt_is_looked_for_at_once(
    quick_world: World, folders: Folders
) -> None:
    ada = await in_doubt(quick_world)
    doubts = Doubts(quick_world.store, await reps_of(quick_world, mailbox(GRACE)), folders)
    await doubts.look_once()
    message = await ada.message()
    async with quick_world.store.write() as tx:
        await ledger.change(
            tx, message, quick_world.clock(), MessageState.IN_DOUBT, attempt=message.attempt + 1
        )
    folders.copies[message.message_id] = message.handing_over_at
    assert await doubts.look_once() == 1
    assert [told.key for told in await quick_world.outbox()] == [f"found/{ada.id}/1/2"]


async def test_all_of_a_mailbox_are_looked_for_on_one_connection(
    quick_world: World, folders: Folders
) -> None:
    walks = [await in_doubt(quick_world, f"ada{number}@example.org") for number in range(3)]
    expected = {(await walk.message()).message_id for walk in walks}
    await Doubts(quick_world.store, await reps_of(quick_world, mailbox(GRACE)), folders).look_once()
    [(address, message_ids)] = folders.looks
    assert (address, set(message_ids)) == (GRACE, expected)


async def test_trouble_of_one_mailbox_is_said_once_and_keeps_no_other_waiting(
    quick_world: World, folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "drumbeat.doubts")
    ada = await in_doubt(quick_world)
    bob = await in_doubt(quick_world, "bob@example.org", rep=ALAN)
    message = await bob.message()
    folders.copies[message.message_id] = message.handing_over_at
    folders.trouble[GRACE] = Trouble.NOT_SIGNED_IN
    reps = await reps_of(quick_world, mailbox(GRACE), mailbox(ALAN))
    doubts = Doubts(quick_world.store, reps, folders)
    assert await doubts.look_once() == 1
    begun = quick_world.clock.now
    while quick_world.clock.now < begun + timedelta(hours=2):
        quick_world.clock.advance(MINUTE)
        await doubts.look_once()
    # A server that refuses a password is not asked every minute: it could lock the user out.
    assert [address for address, _ in folders.looks].count(GRACE) == 5
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    rep_id = (await ada.message()).mailbox
    assert warnings == [
        f"the Sent folder of rep {rep_id} cannot be looked into for emails in doubt: "
        "the server refused the user or the password"
    ]
    del folders.trouble[GRACE]
    folders.copies[(await ada.message()).message_id] = begun
    quick_world.clock.advance(timedelta(hours=1))
    assert await doubts.look_once() == 1
    assert "can be looked into again" in caplog.text
    assert "@" not in caplog.text


async def test_another_trouble_is_said_too(
    quick_world: World, folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    await in_doubt(quick_world)
    doubts = Doubts(quick_world.store, await reps_of(quick_world, mailbox(GRACE)), folders)
    for trouble in (Trouble.NO_CONNECTION, Trouble.NO_CONNECTION, Trouble.NO_SENT_FOLDER):
        folders.trouble[GRACE] = trouble
        await doubts.look_once()
        quick_world.clock.advance(timedelta(hours=1))
    assert [record.args[1] for record in caplog.records if isinstance(record.args, tuple)] == [
        Trouble.NO_CONNECTION,
        Trouble.NO_SENT_FOLDER,
    ]


async def test_a_server_that_does_not_answer_delays_no_other_mailbox_and_no_stop(
    quick_world: World, folders: Folders
) -> None:
    ada = await in_doubt(quick_world)
    answers = threading.Event()
    asked = threading.Event()

    def look(box: Mailbox, message_ids: Sequence[str]) -> Looked:
        looked = folders(box, message_ids)
        if box.address == GRACE:
            asked.set()
            answers.wait(60)
        return looked

    reps = await reps_of(quick_world, mailbox(GRACE), mailbox(ALAN))
    doubts = Doubts(quick_world.store, reps, look, every=timedelta(milliseconds=20))
    stop = asyncio.Event()
    running = asyncio.create_task(doubts.run(stop))
    try:
        await until(asked.is_set)
        bob = await in_doubt(quick_world, "bob@example.org", rep=ALAN)
        message = await bob.message()
        folders.copies[message.message_id] = message.handing_over_at
        quick_world.clock.advance(MINUTE)

        async def is_found() -> bool:
            return await bob.state_of() is MessageState.SENT

        await _until(is_found)
        stop.set()
        async with asyncio.timeout(5):
            await running
    finally:
        answers.set()
    assert await ada.state_of() is MessageState.IN_DOUBT
    assert [address for address, _ in folders.looks].count(GRACE) == 1


async def test_trouble_of_the_database_is_said_once_and_waited_out(
    quick_world: World,
    folders: Folders,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada = await in_doubt(quick_world)
    message = await ada.message()
    folders.copies[message.message_id] = message.handing_over_at
    doubts = Doubts(
        quick_world.store,
        await reps_of(quick_world, mailbox(GRACE)),
        folders,
        every=timedelta(milliseconds=10),
    )
    failures = iter(range(3))
    write = quick_world.store.write

    def failing() -> Any:
        if next(failures, None) is not None:
            raise StoreError("the database is gone")
        return write()

    monkeypatch.setattr(quick_world.store, "write", failing)
    stop = asyncio.Event()
    running = asyncio.create_task(doubts.run(stop))

    async def is_found() -> bool:
        return await ada.state_of() is MessageState.SENT

    await _until(is_found)
    stop.set()
    await running
    assert caplog.messages == ["emails in doubt wait: StoreError"]


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await is_so():  # noqa: ASYNC110 (the state is the database's)
            await asyncio.sleep(0.02)


# With a real Dovecot and a real workflow


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    dovecot.need()
    with running_dovecot() as running:
        yield running


@pytest.fixture
async def office(
    sqlite_store: Store,
    temporal_client: Client,
    server: Dovecot,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Office]:
    """Grace's mailbox can be read, and sends through memory."""
    monkeypatch.setenv("GRACE_PASSWORD", PASSWORD)
    url = sqlite_store._url.render_as_string(hide_password=False)
    rep = grace()
    rep = replace(rep, mailbox=server.mailbox())
    async with open_office(url, temporal_client, MemoryMailer(), rep) as opened:
        yield opened


def mailer_of(office: Office) -> MemoryMailer:
    assert isinstance(office.mailer, MemoryMailer)
    return office.mailer


async def resolve(office: Office, server: Dovecot, enrolled: Enrolled) -> None:
    """Let the copy come into the Sent folder, look, and tell the workflow."""
    doubts = Doubts(office.store, office.reps)
    assert await doubts.look_once() == 0
    message = await office.message(enrolled, 1)
    assert message is not None
    assert message.state == "in_doubt"
    server.append(dovecot.SENT, composing.complete(message.stored, {}))
    assert await Doubts(office.store, office.reps).look_once() == 1
    assert await Delivery(office.store, office.client, office.task_queue).drain() == 1


async def test_the_workflow_goes_on_after_an_email_that_was_in_doubt(
    office: Office, server: Dovecot
) -> None:
    mailer = mailer_of(office)
    mailer.once(Phase.DATA)
    steps = [(1, paths.email(paths.SUBJECT, "choose")), (1, paths.CALL)]
    made = paths.campaign("found", *steps)
    ada = await office.enroll(made, fields=paths.FIELDS, send_at="now")
    await office.until(ada, lambda shown: shown.state is State.IN_DOUBT)
    await resolve(office, server, ada)
    await office.until(ada, lambda shown: shown.state is State.TASK and shown.step == 2)
    await office.until_task(ada, 2)
    message = await office.message(ada, 1)
    assert message is not None
    assert message.state == "sent"
    assert message.sent_at >= message.handing_over_at
    assert await office.timeline(ada) == ["in_doubt", "sent", "task_opened"]
    assert (mailer.attempts, mailer.received) == (1, [])


async def test_a_task_is_done_whose_email_was_in_doubt(office: Office, server: Dovecot) -> None:
    mailer = mailer_of(office)
    mailer.once(Phase.DATA)
    steps = [(1, paths.email(paths.SUBJECT, "task")), (1, paths.CALL)]
    ada = await office.enroll(paths.campaign("found-task", *steps), fields=paths.FIELDS)
    await office.until_task(ada, 1)
    sending = {"task_id": f"{ada.id}-1"}
    await ada.handle.execute_update("send_task_email", sending)
    await office.until(ada, lambda shown: shown.state is State.IN_DOUBT)
    await resolve(office, server, ada)
    await office.until_task(ada, 2)
    task = await office.task(ada, 1)
    assert task is not None
    assert task.status == "completed"
    assert (mailer.attempts, mailer.received) == (1, [])
