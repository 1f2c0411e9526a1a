"""Enroll people: decide on each, write those who are new to the campaign, start their workflows.

People are written in short transactions of some hundreds, each with the orders to start their
workflows. So a run that is killed at any moment leaves nobody behind: a worker starts what was
written, and the same command again finds who is left.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client
from temporalio.service import RPCError

from drumbeat.actions import first_emails
from drumbeat.actions.deciding import (
    Decision,
    Party,
    Result,
    decide,
    decide_without_tables,
    with_fills,
)
from drumbeat.actions.errors import ActionError
from drumbeat.actions.first_emails import OwnText
from drumbeat.actions.launching import Choices, Launch, Launches
from drumbeat.actions.starting import (
    Start,
    WorkflowIdTaken,
    give_up_or_wait,
    start_of,
    start_workflow,
    with_kept,
)
from drumbeat.campaign.model import Campaign
from drumbeat.campaign.people import PeopleReading, PersonRow
from drumbeat.campaign.planning import parse_zone
from drumbeat.reps import Rep, Reps
from drumbeat.store import audit, campaigns, enrollments, keys, outbox, people, suppressions
from drumbeat.store import reps as reps_table
from drumbeat.store.engine import Store
from drumbeat.store.people import Known
from drumbeat.store.schema import enrollments as table

BATCH = 200
"""People in one transaction: short for others, and few of them a second."""
AT_ONCE = 20
"""Workflows that are being started at the same time."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: whom to enroll where, for whom, and how."""

    campaign: Campaign
    attachments: Mapping[str, bytes]
    people: PeopleReading
    rep: Rep
    choices: Choices = field(default_factory=Choices)
    again: bool = False
    """Whether those may be enrolled once more whose enrollment has ended."""
    also: bool = False
    """Whether those may be enrolled who are active in another campaign."""
    fills: Mapping[str, str] = field(default_factory=dict)
    """Token -> what those get who are enrolled and have no value for it."""
    acting: Rep | None = None
    """Who does it; None: the rep."""
    user_id: str | None = None
    """Who does it, where that is a user who need not be a rep; goes before `acting`."""
    texts: Mapping[str, OwnText] = field(default_factory=dict)
    """Address -> with what the person's first email leaves, in place of the template."""

    def who(self, reps: Reps) -> str:
        """The id of who does it."""
        return self.user_id or reps.id_of(self.acting or self.rep)


@dataclass(frozen=True, slots=True)
class PersonReport:
    """What became of one person, or of one row that was rejected."""

    line: int
    email: str
    result: Result
    reason: str | None = None
    missing: tuple[str, ...] = ()
    """Tokens that the campaign's emails need and that have no value."""
    workflow_id: str | None = None
    updated: bool = False
    """Whether the data of a person known before changed."""
    launch: Launch | None = None
    """With which plan, for those who are enrolled."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The person's data, that of the file and what was known before; empty for rejected rows."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of everybody in a file, in the order of its lines."""

    people: tuple[PersonReport, ...]

    def count(self, result: Result) -> int:
        """How many people, or rejected rows, it was the result for."""
        return sum(person.result is result for person in self.people)

    @property
    def updated(self) -> int:
        """How many people's data changed; they are counted by their result, too."""
        return sum(person.updated for person in self.people)


async def rehearse(store: Store | None, order: Order) -> Report:
    """What enrolling would do, with nothing changed.

    Args:
        store: The database; None where there is none yet.
        order: What would be done.

    Raises:
        ActionError, LaunchError, MailboxError, StoreError: As `enroll`.
    """
    order.rep.mailbox.password()
    rows = order.people.people
    if store is None:
        launches = Launches(order.campaign, order.rep, order.choices, datetime.now(UTC))
        launches.check({row.timezone for row in rows})
        decided = decide_without_tables(launches, rows, order.fills)
        return _report(order, [_person(one) for one in decided])
    found: list[PersonReport] = []
    async with store.read() as tx:
        await _refuse_archived(tx, order.campaign)
        key = await keys.people_key(tx)
        launches = Launches(order.campaign, order.rep, order.choices, await store.now(tx))
        launches.check(await _zones(tx, key, order))
        party = Party(launches, key, again=order.again, also=order.also, fills=order.fills)
        for batch in _batches(rows):
            known = await people.known(tx, key, [row.email for row in batch])
            found += [_person(one) for one in await decide(tx, party, batch, known)]
    return _report(order, found)


async def enroll(
    store: Store,
    connect: Callable[[], Awaitable[Client]],
    order: Order,
    reps: Reps,
    *,
    task_queue: str,
    progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """Enroll the people of a file. It may be killed at any moment, and run again at any time.

    Args:
        store: The database.
        connect: Opens the connection to Temporal: before anything is written.
        order: What is to be done.
        reps: All reps, with ids by this database's key.
        task_queue: The workers' queue.
        progress: Called with the number of people who are done.

    Raises:
        LaunchError: The launcher's choices can be carried out in nobody's zone.
        MailboxError: The rep's mailbox lacks its password.
        ActionError: The campaign is archived, or Temporal stopped answering half-way.
        TemporalUnreachable, StoreError: One of the two does not answer.
    """
    order.rep.mailbox.password()
    async with store.read() as tx:
        await _refuse_archived(tx, order.campaign)
        key = await keys.people_key(tx)
        launches = Launches(order.campaign, order.rep, order.choices, await store.now(tx))
        launches.check(await _zones(tx, key, order))
    if not order.people.people:
        return _report(order, [])
    client = await connect()
    run = _Run(
        store=store,
        client=client,
        task_queue=task_queue,
        party=Party(launches, key, again=order.again, also=order.also, fills=order.fills),
        version=await _begin(store, order, reps),
        rep_id=reps.id_of(order.rep),
        who=order.who(reps),
        texts=order.texts,
    )
    found: list[PersonReport] = []
    for batch in _batches(order.people.people):
        found += await run.enroll(batch, progress)
    return _report(order, found)


async def _refuse_archived(tx: AsyncConnection, campaign: Campaign) -> None:
    row = await campaigns.find(tx, campaign.slug)
    if row is not None and row.archived_at is not None:
        raise ActionError(
            f"the campaign {campaign.slug} is archived and takes nobody new:"
            f" bring it back with `campaign archive {campaign.slug} --undo`"
        )


async def _zones(tx: AsyncConnection, key: bytes, order: Order) -> set[str | None]:
    """The zones that the people of a file have, by the file or by the tables."""
    if not order.campaign.settings.person_timezone:
        return {None}
    rows = order.people.people
    zones: set[str | None] = {row.timezone for row in rows if row.timezone is not None}
    for batch in _batches([row for row in rows if row.timezone is None]):
        known = await people.known(tx, key, [row.email for row in batch])
        zones |= {known[row.email].timezone if row.email in known else None for row in batch}
    return zones


async def _begin(store: Store, order: Order, reps: Reps) -> str:
    """Store the campaign's version, and note who enrolls; gives the version's id."""
    async with store.write() as tx:
        now = await store.now(tx)
        await reps_table.sync(tx, reps, now)
        version = await campaigns.save(tx, order.campaign, order.attachments, now)
        await audit.append(
            tx,
            who=order.who(reps),
            action="enroll",
            target=order.campaign.slug,
            why=f"{len(order.people.people)} people of a file, for {reps.id_of(order.rep)}",
            now=now,
        )
    return version


def _batches(rows: Sequence[PersonRow]) -> list[Sequence[PersonRow]]:
    return [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]


def _person(decision: Decision) -> PersonReport:
    return PersonReport(
        line=decision.row.line,
        email=decision.row.email,
        result=decision.result,
        reason=decision.reason,
        missing=decision.missing,
        workflow_id=decision.workflow_id,
        updated=decision.changed is not None,
        launch=decision.launch,
        fields=decision.row.fields if decision.person is None else decision.person.fields,
    )


def _report(order: Order, found: Sequence[PersonReport]) -> Report:
    rejected = [
        PersonReport(one.line, one.email, Result.REJECTED, one.reason)
        for one in order.people.rejected
    ]
    return Report(tuple(sorted([*found, *rejected], key=lambda person: person.line)))


@dataclass(frozen=True, slots=True)
class _Written:
    """What a batch has become in the tables."""

    reports: dict[str, PersonReport]
    """By address."""
    starts: dict[str, Start]
    """Address -> the workflow to start."""
    before: frozenset[str]
    """Those of them who were enrolled by an earlier run, which did not come to start them."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of enrolling, with what is the same for all of its people."""

    store: Store
    client: Client
    task_queue: str
    party: Party
    version: str
    rep_id: str
    who: str
    texts: Mapping[str, OwnText]
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    async def enroll(
        self, rows: Sequence[PersonRow], progress: Callable[[int], None]
    ) -> list[PersonReport]:
        """Write a batch of people, then start the workflows of those who are enrolled."""
        written = await self._write(rows)
        reports = written.reports
        progress(len(rows) - len(written.starts))
        started: set[str] = set()
        trouble: list[RPCError] = []
        slots = asyncio.Semaphore(AT_ONCE)

        async def start(address: str, one: Start) -> None:
            async with slots:
                if trouble:  # Temporal will not answer for the others either
                    return
                try:
                    is_new = await start_workflow(self.client, one, self.task_queue)
                    started.add(one.enrollment_id)
                    if not is_new and address in written.before:
                        reports[address] = replace(reports[address], result=Result.ALREADY)
                except WorkflowIdTaken as taken:
                    reports[address] = await self._id_is_taken(one, taken, reports[address])
                except RPCError as error:
                    trouble.append(error)
                progress(1)

        try:
            await asyncio.gather(*(start(*one) for one in written.starts.items()))
        finally:
            async with self.store.write() as tx:
                await enrollments.mark_started(tx, started, await self.store.now(tx))
        if trouble:
            raise ActionError(
                f"Temporal did not start everybody ({trouble[0].status.name}): run the same command"
                " again, nobody is enrolled twice"
            )
        return list(reports.values())

    async def _write(self, rows: Sequence[PersonRow]) -> _Written:
        """Write a batch in one transaction."""
        addresses = [row.email for row in rows]
        key = self.party.key
        async with self.store.write() as tx:
            now = await self.store.now(tx)
            before = await people.known(tx, key, addresses)
            await people.insert_all(tx, key, await self._unknown(tx, rows, before), now)
            known = await people.known(tx, key, addresses, lock=True)
            decisions = await decide(tx, self.party, rows, known)
            await self._change(tx, decisions, now)
            new = {
                one.row.email: self._new(one.row.email, one.person, one.launch, one.round)
                for one in decisions
                if one.person is not None and one.launch is not None
            }
            written = await enrollments.insert_all(tx, list(new.values()), now)
            own = {
                address: (one, self.texts[address])
                for address, one in new.items()
                if address in self.texts and one.id in written
            }
            await first_emails.keep(tx, list(own.values()), now)
            unstarted = {
                one.row.email: await with_kept(tx, await start_of(tx, one.unstarted))
                for one in decisions
                if one.unstarted is not None
            }
            starts = dict(unstarted)
            for decision in decisions:
                address, launch = decision.row.email, decision.launch
                if address in new and new[address].id in written and launch is not None:
                    start = self._start(new[address], launch)
                    starts[address] = await with_kept(tx, start) if address in own else start
        reports = {one.row.email: _person(one) for one in decisions}
        for address, enrollment in new.items():
            report = reports[address]
            if enrollment.id in written and report.launch is not None:
                reports[address] = replace(report, workflow_id=enrollment.workflow_id)
            else:
                reason = "enrolled by somebody else at this moment"
                reports[address] = replace(
                    report, result=Result.ALREADY, reason=reason, launch=None
                )
        return _Written(reports, starts, frozenset(unstarted))

    async def _unknown(
        self, tx: AsyncConnection, rows: Sequence[PersonRow], known: Mapping[str, Known]
    ) -> list[PersonRow]:
        """Those who are to be known from now on: who is excluded or rejected leaves no trace."""
        rows = [row for row in rows if row.email not in known]
        against = await suppressions.against(tx, [row.email for row in rows])
        launches = self.party.launches
        return [
            with_fills(row, None, self.party.fills)
            for row in rows
            if row.email not in against and isinstance(launches.of(row.timezone), Launch)
        ]

    async def _change(
        self, tx: AsyncConnection, decisions: Sequence[Decision], now: datetime
    ) -> None:
        """Write what rows fill of people known before; whatever waits for it goes on."""
        changed = [one.changed for one in decisions if one.changed is not None]
        if not changed:
            return
        await people.change_all(tx, changed, now)
        await outbox.put_for_running(
            tx,
            table.c.person_id.in_([person.id for person in changed]),
            kind="mended",
            key=f"mended/{self.id}",
            payload={"who": self.who},
            now=now,
        )

    def _new(self, address: str, person: Known, launch: Launch, round: int) -> enrollments.New:
        campaign = self.party.launches.campaign
        own = self.texts.get(address)
        return enrollments.New(
            id=secrets.token_hex(8) if own is None else own.enrollment_id,
            workflow_id=f"campaign/{campaign.slug}/{person.id}",
            campaign=campaign.slug,
            version=self.version,
            person_id=person.id,
            rep_id=self.rep_id,
            rep_email=self.party.launches.rep.email,
            round=round,
            plan=launch.plan_json,
            standing=launch.standing_json,
            kickoff=launch.plan.kickoff,
            due_at=launch.due_at,
            first_email_due=launch.first_email_due,
            starts_with_email=launch.first.kind == "email",
            who=self.who,
        )

    def _start(self, new: enrollments.New, launch: Launch) -> Start:
        settings = self.party.launches.campaign.settings
        return Start(
            enrollment_id=new.id,
            workflow_id=new.workflow_id,
            campaign=new.campaign,
            person_id=new.person_id,
            rep_id=new.rep_id,
            rep_zone=parse_zone(self.party.launches.rep.timezone),
            round=new.round,
            plan=launch.plan,
            on_reply=settings.on_reply,
            remove_on_bounce=settings.remove_on_bounce,
            due_at=new.due_at,
        )

    async def _id_is_taken(
        self, start: Start, taken: WorkflowIdTaken, report: PersonReport
    ) -> PersonReport:
        """Somebody else's workflow is in the way: the person stays out, and nothing is lost."""
        if not await give_up_or_wait(self.store, start.enrollment_id, taken):
            return replace(report, reason="starts when the enrollment before it has closed")
        reason = (
            f"there is a workflow {start.workflow_id} that the database does not know:"
            " run `starter.py check`, or end it in the Temporal UI and enroll again"
        )
        return replace(report, result=Result.REJECTED, reason=reason, workflow_id=None, launch=None)
