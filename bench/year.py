"""A year of a sales team, as rows: what the Command Center is measured over."""

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, TypeVar

from sqlalchemy import Table

from bench.cast import FIRST, LAST, WORDS_OF_A_BODY, ZONES, rep_address, rep_name
from drumbeat.campaign.calendar import Plan, PlannedStep, Standing
from drumbeat.campaign.model import Campaign
from drumbeat.campaign.planning import make_plan
from drumbeat.campaign.record import What
from drumbeat.campaign.states import (
    MessageState,
    Outcome,
    State,
    TaskStatus,
    Why,
    WhyCode,
)
from drumbeat.reps import rep_id
from drumbeat.store import keys
from drumbeat.store.schema import (
    enrollments,
    events,
    marks,
    messages,
    people,
    reps,
    tasks,
    texts,
    users,
)

_T = TypeVar("_T")

SINCE = timedelta(days=300)
"""The first enrollments that are over by now."""
_LENGTH = timedelta(days=20)
"""From a campaign's first step to its last."""
_TITLES = ("Head of Procurement", "Plant Manager", "Chief Engineer", "Buyer", "Director")
_STUCK = {
    State.IN_DOUBT: (MessageState.IN_DOUBT, WhyCode.IN_DOUBT, ""),
    State.FAILED: (MessageState.FAILED, WhyCode.REFUSED, "550"),
    State.BLOCKED: (MessageState.BLOCKED, WhyCode.MISSING_DATA, "industry"),
    State.SENDING: (MessageState.SENDING, None, ""),
    State.SLEEPING: (MessageState.SCHEDULED, None, ""),
    State.HELD: (MessageState.SCHEDULED, WhyCode.HOLD, "person"),
}
_STATES = (
    (State.TASK, 45),
    (State.SLEEPING, 45),
    (State.BLOCKED, 4),
    (State.SENDING, 2),
    (State.HELD, 2),
    (State.FAILED, 1),
    (State.IN_DOUBT, 1),
)
_OUTCOMES = (
    (Outcome.COMPLETED, 60),
    (Outcome.REPLIED, 15),
    (Outcome.REPLIED_SUCCESS, 10),
    (Outcome.SUCCESS, 5),
    (Outcome.BOUNCED, 4),
    (Outcome.REMOVED, 3),
    (Outcome.UNSUBSCRIBED, 3),
)


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many rows there are."""

    campaigns: int = 50
    reps: int = 200
    managers: int = 20
    people: int = 90_000
    enrollments: int = 100_000
    tasks: int = 300_000
    events: int = 1_000_000


class Year:
    """Makes the rows: first the enrollments, from which everything else follows."""

    def __init__(
        self,
        amounts: Amounts,
        key: bytes,
        now: datetime,
        known: list[Campaign],
        versions: list[str],
    ) -> None:
        self._amounts, self._now = amounts, now
        self._known, self._versions = known, versions
        self._random = random.Random(7)
        self.slugs = [one.slug for one in known]
        self.reps = [rep_id(key, rep_address(number)) for number in range(amounts.reps)]
        self._manager_addresses = [f"manager{n}@example.com" for n in range(amounts.managers)]
        self.managers = [rep_id(key, address) for address in self._manager_addresses]
        self._people = [
            keys.person_id(key, self._address(number)) for number in range(amounts.people)
        ]
        self.seen_by: dict[str, str] = {}
        self._plans: dict[tuple[int, str], tuple[Plan, str, str]] = {}
        self._events: list[dict[str, Any]] = []
        self._messages: list[dict[str, Any]] = []
        self._tasks: list[dict[str, Any]] = []
        self._marks: list[dict[str, Any]] = []
        self._texts: list[dict[str, Any]] = []

    def tables(self) -> Iterator[tuple[Table, Iterable[dict[str, Any]]]]:
        """Each table with its rows, in the order in which they refer to each other."""
        yield reps, self._rep_rows()
        yield users, self._user_rows()
        yield people, self._people_rows()
        yield enrollments, self._enrollment_rows()
        yield texts, self._texts
        self._fill_tasks()
        yield tasks, self._tasks
        yield messages, self._messages
        yield marks, self._marks
        self._fill_events()
        yield events, sorted(self._events, key=lambda row: row["at"])

    # Who there is

    def _rep_rows(self) -> Iterator[dict[str, Any]]:
        for number, one in enumerate(self.reps):
            yield {
                "id": one,
                "email": rep_address(number),
                "name": rep_name(number),
                "timezone": ZONES[number % len(ZONES)],
                "updated_at": self._now,
            }

    def _user_rows(self) -> Iterator[dict[str, Any]]:
        for number, one in enumerate(self.reps):
            yield self._user(one, rep_address(number), rep_name(number), "rep")
        for one, address in zip(self.managers, self._manager_addresses, strict=True):
            yield self._user(one, address, "Katherine Johnson", "manager")

    def _user(self, user_id: str, address: str, name: str, role: str) -> dict[str, Any]:
        values = {"id": user_id, "email": address, "name": name, "role": role}
        return {**values, "created_at": self._now - SINCE}

    @staticmethod
    def _address(number: int) -> str:
        first = FIRST[number % len(FIRST)].lower()
        last = LAST[number // 7 % len(LAST)].lower()
        return f"{first}.{last}{number}@company{number // 30}.example.org"

    def _people_rows(self) -> Iterator[dict[str, Any]]:
        for number, one in enumerate(self._people):
            at = self._now - timedelta(minutes=5 * (self._amounts.people - number))
            yield {
                "id": one,
                "email": self._address(number),
                "fields": {
                    "first_name": FIRST[number % len(FIRST)],
                    "last_name": LAST[number // 7 % len(LAST)],
                    "title": _TITLES[number % len(_TITLES)],
                    "company": f"Company {number // 30} Works",
                    "phone": f"+1 212 555 {number % 10_000:04}",
                    "industry": "Machines",
                },
                "timezone": ZONES[number % len(ZONES)],
                "revision": 1,
                "created_at": at,
                "updated_at": at,
            }

    # What they were enrolled for, and what came of it

    def _enrollment_rows(self) -> Iterator[dict[str, Any]]:
        for number in range(self._amounts.enrollments):
            yield self._enrollment(number)

    def _enrollment(self, number: int) -> dict[str, Any]:
        choose = self._random
        person, turn = number % self._amounts.people, number // self._amounts.people
        which = (person * 7 + turn) % self._amounts.campaigns
        rep = self.reps[(person // 3 + turn) % self._amounts.reps]
        zone = ZONES[person % len(ZONES)]
        plan, written, kickoff_text = self._plan(which, zone)
        one: dict[str, Any] = {
            "id": f"{number:016x}",
            "workflow_id": f"campaign/{self.slugs[which]}/{self._people[person]}",
            "campaign": self.slugs[which],
            "version": self._versions[which],
            "person_id": self._people[person],
            "rep_id": rep,
            "round": 1,
        }
        self.seen_by[one["person_id"]] = rep
        if choose.random() < 0.45:
            outcome = _draw(choose, _OUTCOMES)
            is_whole = outcome == Outcome.COMPLETED
            reached = len(plan.steps) if is_whole else choose.randint(1, len(plan.steps) - 1)
            kickoff = self._now - _LENGTH - choose.random() * (SINCE - _LENGTH)
            state, current = State.ENDED, None
        else:
            state, outcome = _draw(choose, _STATES), None
            wanted = [s for s in plan.steps if s.is_task == (state == State.TASK)]
            if state == State.SLEEPING:
                wanted = list(plan.steps)
            current = choose.choice(wanted)
            reached = current.number - 1
            days = current.day - 1 + choose.randint(-1, 2) * (state != State.SENDING)
            kickoff = self._now - timedelta(days=max(0.0, days + choose.random()))
        done = plan.steps[:reached]
        one["kickoff"] = one["started_at"] = kickoff
        one["plan"] = written.replace(kickoff_text, kickoff.isoformat().replace("+00:00", "Z"))
        one["state"], one["outcome"] = state, outcome
        one["step"] = current.number if current else reached
        self._event(one, kickoff, What.ENROLLED, who=rep)
        over_at = kickoff
        for step in done:
            over_at = self._over(one, step, kickoff)
        one |= self._stand(one, plan, kickoff, done, current, over_at)
        one["seq"] = 0
        return one

    def _plan(self, which: int, zone: str) -> tuple[Plan, str, str]:
        """A campaign's plan, its JSON, and how its kickoff stands there, to be replaced."""
        if (which, zone) not in self._plans:
            known = self._known[which]
            plan = make_plan(known, kickoff=self._now, person_zone=zone, rep_zone=None)
            kickoff = self._now.isoformat().replace("+00:00", "Z")
            assert kickoff in plan.model_dump_json()
            self._plans[which, zone] = (plan, plan.model_dump_json(), kickoff)
        return self._plans[which, zone]

    def _stand(
        self,
        one: dict[str, Any],
        plan: Plan,
        kickoff: datetime,
        done: tuple[PlannedStep, ...],
        current: PlannedStep | None,
        over_at: datetime,
    ) -> dict[str, Any]:
        """Where an enrollment stands now, with the email or the task that is at hand."""
        standing = Standing(
            anchor_day=1,
            anchor_date=kickoff.date(),
            clocks={step.number: time(9, 30) for step in done if step.kind == "email"},
            over_at=over_at,
        )
        values: dict[str, Any] = {
            "standing": standing.model_dump_json(),
            "why": None,
            "next_at": None,
            "replied_at": None,
            "bounced_at": None,
            "ended_at": None,
        }
        if current is None:
            at = over_at + timedelta(minutes=30)
            if one["outcome"] in (Outcome.REPLIED, Outcome.REPLIED_SUCCESS):
                values["replied_at"] = at
                self._event(one, at, What.REPLIED)
            elif one["outcome"] == Outcome.BOUNCED:
                values["bounced_at"] = at
                self._event(one, at, What.BOUNCED, step=1, hard="yes")
            elif one["outcome"] == Outcome.UNSUBSCRIBED:
                self._event(one, at, What.UNSUBSCRIBED)
            self._event(one, at, What.ENDED, outcome=str(one["outcome"]))
            return values | {"ended_at": at}
        state: State = one["state"]
        due = max(self._now, over_at) + timedelta(hours=self._random.randint(1, 120))
        if state == State.TASK:
            self._open_task(one, current)
            values["why"] = Why(code=WhyCode.TASK).model_dump(mode="json")
        elif current.is_automatic:
            how, code, detail = _STUCK[state]
            why = Why(code=code, detail=detail).model_dump(mode="json") if code else None
            values["why"] = why
            self._messages.append(self._message(one, current, how, due_at=due, why=why))
            what = {State.FAILED: What.FAILED, State.BLOCKED: What.BLOCKED}.get(state)
            if what is not None:
                self._event(one, over_at, what, current.number, code=str(code), detail=detail)
        if state == State.SLEEPING:
            values["next_at"] = due
        return values

    def _over(self, one: dict[str, Any], step: PlannedStep, kickoff: datetime) -> datetime:
        """A step that is over: its email, its task, its events; when it was."""
        choose = self._random
        at = kickoff + timedelta(days=step.day - 1, minutes=choose.randint(1, 600))
        at = min(at, self._now - timedelta(seconds=choose.randint(60, 600)))
        rep = one["rep_id"]
        if step.is_task:
            was_skipped = choose.random() < 0.08
            status = TaskStatus.SKIPPED if was_skipped else TaskStatus.COMPLETED
            task = self._task(one, step, status, at - timedelta(hours=5))
            is_call = step.kind == "call" and not was_skipped
            task |= {"closed_at": at, "closed_by": rep, "outcome": "Connected" if is_call else None}
            if choose.random() < 0.1:
                task["text_id"] = self._text(rep, at)
            self._tasks.append(task)
            what = What.TASK_SKIPPED if was_skipped else What.TASK_COMPLETED
            self._event(one, at - timedelta(hours=5), What.TASK_OPENED, step.number)
            self._event(one, at, what, step.number, who=rep)
            if was_skipped:
                if step.kind == "email":
                    how = MessageState.CANCELLED
                    why = Why(code=WhyCode.SKIPPED).model_dump(mode="json")
                    self._messages.append(self._message(one, step, how, why=why, at=at))
                return at
        if step.kind == "email":
            self._messages.append(self._message(one, step, MessageState.SENT, at=at))
            self._event(one, at, What.SENT, step.number)
            if at > self._now - timedelta(days=2):
                self._marks.append(
                    {
                        "mailbox": rep,
                        "at": at,
                        "handed_over": True,
                        "first": step.number == 1,
                        "enrollment_id": one["id"],
                        "step": step.number,
                        "attempt": 1,
                    }
                )
        return at

    def _open_task(self, one: dict[str, Any], step: PlannedStep) -> None:
        at = self._now - timedelta(hours=self._random.randint(1, 72))
        task = self._task(one, step, TaskStatus.OPEN, at)
        task["due"] = (self._now + timedelta(days=self._random.randint(-3, 6))).date()
        if self._random.random() < 0.02:
            task["rep_id"] = self._random.choice(self.reps)  # handed over
        self._tasks.append(task)
        self._event(one, at, What.TASK_OPENED, step.number)

    def _task(
        self, one: dict[str, Any], step: PlannedStep, status: TaskStatus, at: datetime
    ) -> dict[str, Any]:
        values = {"id": f"{one['id']}-{step.number}", "enrollment_id": one["id"]}
        values |= {name: one[name] for name in ("person_id", "campaign", "rep_id")}
        return values | self._task_values(step.kind, step.label, status, at) | {"step": step.number}

    def _task_values(
        self, kind: str, subject: str, status: TaskStatus, at: datetime
    ) -> dict[str, Any]:
        return {
            "kind": kind,
            "subject": subject or kind,
            "due": at.date(),
            "priority": "high" if self._random.random() < 0.1 else "normal",
            "notes": None,
            "status": status,
            "opened_at": at,
            "closed_at": None,
            "closed_by": None,
            "outcome": None,
            "text_id": None,
        }

    def _text(self, rep: str, at: datetime) -> str:
        one = f"x{len(self._texts):012x}"
        self._texts.append({"id": one, "text": "Spoke with the office", "who": rep, "at": at})
        return one

    def _message(
        self,
        one: dict[str, Any],
        step: PlannedStep,
        state: MessageState,
        *,
        at: datetime | None = None,
        due_at: datetime | None = None,
        why: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        is_sent = state == MessageState.SENT
        bounced = None
        if is_sent and one["outcome"] == Outcome.BOUNCED and step.number == 1:
            bounced = "hard"
        rendered = state not in (MessageState.SCHEDULED, MessageState.CANCELLED)
        html = f"<p>{WORDS_OF_A_BODY}</p>"
        return {
            "enrollment_id": one["id"],
            "step": step.number,
            "mailbox": one["rep_id"],
            "state": state,
            "why": why,
            "due_at": due_at or at,
            "first": step.number == 1,
            "message_id": f"<{one['id']}.{step.number}@example.com>",
            "attempt": int(rendered),
            "subject": f"A word on Company {one['person_id'][:4]}" if rendered else None,
            "rendering": {"html": html, "text": WORDS_OF_A_BODY} if rendered else None,
            "stored": (html * 3).encode() if is_sent else None,
            "sha256": "0" * 64 if is_sent else None,
            "sent_at": at if is_sent else None,
            "bounced": bounced,
            "updated_at": at or self._now - timedelta(hours=self._random.randint(1, 200)),
        }

    def _event(
        self,
        one: dict[str, Any],
        at: datetime,
        what: What,
        step: int | None = None,
        who: str | None = None,
        **detail: str,
    ) -> None:
        key = str(len(self._events))  # unique, as it must be within an enrollment
        values = {name: one[name] for name in ("person_id", "campaign")}
        values |= {"enrollment_id": one["id"], "key": key, "at": at, "what": what, "step": step}
        self._events.append({**values, "who": who, "detail": detail})

    # Up to the amounts

    def _fill_tasks(self) -> None:
        """Tasks that reps made themselves; most of them are over."""
        seen = list(self.seen_by.items())
        for number in range(self._amounts.tasks - len(self._tasks)):
            person, rep = self._random.choice(seen)
            at = self._now - self._random.random() * SINCE
            is_open = number % 50 == 0
            status = TaskStatus.OPEN if is_open else TaskStatus.COMPLETED
            values = {"id": f"t{number:012x}", "enrollment_id": None, "campaign": None}
            values |= {"person_id": person, "rep_id": rep, "step": None}
            task = values | self._task_values("custom", "Look into it", status, at)
            if not is_open:
                task |= {"closed_at": at, "closed_by": rep}
            self._tasks.append(task)
        if len(self._tasks) > self._amounts.tasks:
            del self._tasks[self._amounts.tasks :]

    def _fill_events(self) -> None:
        """Tasks that were moved, some many times."""
        spare = len(self._events) - self._amounts.events
        if spare > 0:
            # That a task opened is told by the task's row too.
            opened = (n for n, row in enumerate(self._events) if row["what"] == What.TASK_OPENED)
            left_out = set(itertools.islice(opened, spare))
            self._events = [row for n, row in enumerate(self._events) if n not in left_out]
        known = len(self._events)
        for _ in range(self._amounts.events - known):
            old = self._events[self._random.randrange(known)]
            at = old["at"] + timedelta(minutes=1)
            key = str(len(self._events))
            moved = {"key": key, "at": at, "what": What.TASK_SNOOZED, "detail": {"due": "later"}}
            self._events.append({**old, **moved, "step": old["step"] or 1})


def _draw(choose: random.Random, weighted: tuple[tuple[_T, int], ...]) -> _T:
    return choose.choices([one for one, _ in weighted], [weight for _, weight in weighted])[0]
