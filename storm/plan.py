"""What a storm does and when, from its seed alone: no clock, no process, no database."""

import random
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

EMAILS_EACH = 3
"""Emails that a person is to get."""
PARTY = 5
"""People who are enrolled together, for one rep."""
ARRIVE_WITHIN = 0.6
"""Share of the storm's time in which people are enrolled."""
BLOW_WITHIN = 0.85
"""Share in which processes are killed; then it is calm, and everything goes on to its end."""
LEAVE = 0.06
"""Share of the people who leave before their last email."""


class Blow(StrEnum):
    """What can happen to the processes."""

    WORKER_KILLED = "worker, SIGKILL"
    WORKERS_KILLED = "all workers at once, SIGKILL"
    WORKER_STOPPED = "worker, SIGTERM"
    TEMPORAL_KILLED = "Temporal server, SIGKILL"
    TEMPORAL_STOPPED = "Temporal server, SIGTERM"
    MAIL_KILLED = "mail server, SIGKILL"
    MAIL_STOPPED = "mail server, SIGTERM"


EVERY: dict[Blow, int] = {
    Blow.WORKERS_KILLED: 5,
    Blow.TEMPORAL_KILLED: 6,
    Blow.WORKER_STOPPED: 7,
    Blow.MAIL_STOPPED: 10,
    Blow.TEMPORAL_STOPPED: 15,
    Blow.MAIL_KILLED: 15,
}
"""One of these for so many kills of workers (30 kills: 5 of the Temporal server)."""


class Leaving(StrEnum):
    """How a person leaves."""

    UNSUBSCRIBED = "unsubscribed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Event:
    """A blow, and when."""

    after: timedelta
    """Since the storm's beginning."""
    blow: Blow
    down: timedelta
    """From the death until the process is started again."""


@dataclass(frozen=True, slots=True)
class Party:
    """People who are enrolled together."""

    after: timedelta
    people: tuple[int, ...]
    """Their numbers, from 1."""
    rep: int
    """The number of their rep, from 0."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A person who leaves once so many of the emails have arrived."""

    emails: int
    how: Leaving


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole storm."""

    seed: int
    lasts: timedelta
    people: int
    events: tuple[Event, ...]
    """In the order of their time."""
    parties: tuple[Party, ...]
    departures: dict[int, Departure]
    """By person."""


def make_plan(seed: int, lasts: timedelta, people: int, kills: int, *, reps: int) -> Plan:
    """The plan of a seed: the same arguments give the same plan.

    Args:
        seed: Of all that is chosen at random.
        lasts: How long it storms; what is left then goes on in the calm after it.
        people: How many are enrolled.
        kills: How often a worker dies of SIGKILL; the other blows follow from it.
        reps: How many reps the people are shared among.
    """
    return Plan(
        seed=seed,
        lasts=lasts,
        people=people,
        events=_events(random.Random(f"{seed}/events"), lasts, kills),
        parties=_parties(random.Random(f"{seed}/parties"), lasts, people, reps),
        departures=_departures(random.Random(f"{seed}/departures"), people),
    )


def _events(chance: random.Random, lasts: timedelta, kills: int) -> tuple[Event, ...]:
    numbers = {blow: kills // every for blow, every in EVERY.items()}
    numbers[Blow.WORKER_KILLED] = kills - numbers[Blow.WORKERS_KILLED]
    blows = [blow for blow in Blow for _ in range(numbers[blow])]
    chance.shuffle(blows)
    if not blows:
        return ()
    slot = lasts * BLOW_WITHIN / len(blows)
    # One somewhere in each slot: neither all at once nor evenly.
    return tuple(
        Event(slot * (place + chance.random()), blow, timedelta(seconds=chance.uniform(0, 4)))
        for place, blow in enumerate(blows)
    )


def _parties(chance: random.Random, lasts: timedelta, people: int, reps: int) -> tuple[Party, ...]:
    groups = [
        tuple(range(first, min(first + PARTY, people + 1))) for first in range(1, people + 1, PARTY)
    ]
    moments = sorted(chance.random() for _ in groups)
    return tuple(
        Party(lasts * ARRIVE_WITHIN * moment, group, number % reps)
        for number, (moment, group) in enumerate(zip(moments, groups, strict=True))
    )


def _departures(chance: random.Random, people: int) -> dict[int, Departure]:
    leavers = chance.sample(range(1, people + 1), round(people * LEAVE))
    return {
        person: Departure(chance.randrange(1, EMAILS_EACH), chance.choice(list(Leaving)))
        for person in leavers
    }
