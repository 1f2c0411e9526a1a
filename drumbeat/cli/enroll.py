"""`enroll`: people of a CSV file go into a campaign; what became of each is reported."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from drumbeat.actions import enrolling
from drumbeat.actions.deciding import Result
from drumbeat.actions.desk import moment
from drumbeat.actions.enrolling import Order, PersonReport, Report
from drumbeat.actions.launching import Choices, Launch
from drumbeat.actions.rejects import write_rejects
from drumbeat.campaign.people import read_people
from drumbeat.campaign.planning import parse_zone
from drumbeat.campaign.reading import read_campaign
from drumbeat.cli.context import Context, reps_file
from drumbeat.cli.errors import CommandRefused
from drumbeat.cli.output import complain, print_json, progress, say
from drumbeat.cli.parameters import As, Json, SendAt, Start, StepTimes, example, step_times
from drumbeat.reps import Rep, Reps, read_reps
from drumbeat.settings import Settings
from drumbeat.store.engine import Store, database_url, is_sqlite

MOST_LINES = 20
"""How many people of a kind the report lists; all of them stand in the JSON."""

commands = App(
    name="enroll",
    help_epilogue=example(
        "starter.py enroll examples/intro/campaign.yaml --people people.csv"
        " --rep grace@example.com --send-at now"
    ),
)


@commands.default
async def enroll(
    campaign: Annotated[Path, Parameter(help="The campaign's file.")],
    /,
    *,
    people: Annotated[
        Path, Parameter(name="--people", help="A CSV file; its header names at least `email`.")
    ],
    rep: Annotated[str, Parameter(name="--rep", help="Who writes to them: a rep's address.")],
    send_at: SendAt = None,
    at: StepTimes = None,
    start: Start = None,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", help="Change nothing; say what would be done.")
    ] = False,
    again: Annotated[
        bool, Parameter(name="--again", help="Also those whose enrollment has ended.")
    ] = False,
    also: Annotated[
        bool, Parameter(name="--also", help="Also those who are active in another campaign.")
    ] = False,
    acting: As = None,
    json: Json = False,
) -> int:
    """Enroll the people of a CSV file in a campaign.

    It can be run again at any time, also after it was killed: nobody is enrolled twice and nobody
    left out. Rows that cannot be used are reported and written to PEOPLE.rejects.csv beside the
    file. The data of people known before is brought up to the file; blanks change nothing.
    """
    reading, rows = read_campaign(campaign), read_people(people)
    if reading.campaign is None or reading.faults or rows.faults:
        raise CommandRefused(*map(str, reading.faults), *rows.faults)
    choices = Choices(send_at=send_at, times=step_times(at), start=start)
    async with Context() as context:
        settings = context.settings
        reps = _reps_without_database(settings) if dry_run else await context.reps()
        order = Order(
            campaign=reading.campaign,
            attachments=reading.attachments,
            people=rows,
            rep=_rep(reps, rep, settings),
            choices=choices,
            again=again,
            also=also,
            acting=_rep(reps, acting, settings) if acting is not None else None,
        )
        if dry_run:
            report = await enrolling.rehearse(await _store_if_there(context), order)
        else:
            bar = progress()
            bar.disable = not bar.console.is_terminal  # it would leave an empty line elsewhere
            with bar:
                task = bar.add_task("enrolling", total=len(rows.people))
                report = await enrolling.enroll(
                    await context.store(),
                    context.client,
                    order,
                    reps,
                    task_queue=settings.task_queue,
                    progress=lambda count: bar.advance(task, count),
                )
    rejects = _write_rejects(people, report) if not dry_run else None
    if json:
        print_json(as_json(report))
    else:
        tell(report, order, rejects, dry_run=dry_run)
    reasons = [one.reason for one in report.people if one.result is Result.REJECTED]
    if not reasons or len(reasons) < len(report.people):
        return 0
    why = "every row is rejected" if len(set(reasons)) > 1 else reasons[0]
    complain(f"{people}: nobody could be enrolled: {why}")
    return 1


def _reps_without_database(settings: Settings) -> Reps:
    """The reps of the file, for a run that changes nothing, not even their copy in the tables."""
    is_beside_up = not settings.database_url
    local = settings.local_smtp or (f"smtp://127.0.0.1:{settings.smtp_port}" * is_beside_up)
    reading = read_reps(reps_file(settings), local_smtp=local or None)
    if reading.faults:
        raise CommandRefused(*map(str, reading.faults))
    return Reps(reading.reps, key=b"")  # ids that are never written


async def _store_if_there(context: Context) -> Store | None:
    url = database_url(context.settings.database)
    if is_sqlite(url) and not os.path.exists(str(url.database)):  # noqa: ASYNC240 (quick)
        return None
    return await context.store()


def _rep(reps: Reps, address: str, settings: Settings) -> Rep:
    found = reps.by_address(address)
    if found is None:
        known = [rep.email for rep in reps]
        named = ", ".join(known[:8]) + (f" and {len(known) - 8} more" if len(known) > 8 else "")
        raise CommandRefused(
            f"no rep has the address {' '.join(address.split())}:"
            f" {reps_file(settings)} names {named or 'nobody'}"
        )
    return found


def as_json(report: Report) -> dict[str, object]:
    """The report as SPEC section 8 has it: a contract."""
    return {
        "enrolled": report.count(Result.ENROLLED),
        "updated": report.updated,
        "already": report.count(Result.ALREADY),
        "excluded": report.count(Result.EXCLUDED),
        "rejected": report.count(Result.REJECTED),
        "people": [
            {
                "line": person.line,
                "email": person.email,
                "result": person.result.value,
                "reason": person.reason,
                "missing": list(person.missing),
                "workflow_id": person.workflow_id,
            }
            for person in report.people
        ],
    }


# The report for people


def tell(report: Report, order: Order, rejects: Path | None, *, dry_run: bool) -> None:
    """Print what became of everybody."""
    campaign = order.campaign
    say(f"{campaign.name} ({campaign.slug}), for {order.rep.name} <{order.rep.email}>")
    for line in _moments(report, order):
        say(line)
    say()
    would = "would be " if dry_run else ""
    for word, count in (
        (f"{would}enrolled", report.count(Result.ENROLLED)),
        (f"{would}updated", report.updated),
        ("already enrolled", report.count(Result.ALREADY)),
        ("excluded", report.count(Result.EXCLUDED)),
        ("rejected", report.count(Result.REJECTED)),
    ):
        say(f"{count:>7,}  {word}")
    for result, title in (
        (Result.ALREADY, "Already enrolled:"),
        (Result.EXCLUDED, "Excluded:"),
        (Result.REJECTED, "Rejected:"),
    ):
        _list(title, [_line(person) for person in report.people if person.result is result])
    if rejects is not None:
        say(f"The rejected rows are in {rejects}")
    _list("Without a value, so that emails which need it wait as missing data:", _lacking(report))
    if dry_run:
        say()
        say("Nothing was changed.")


def _moments(report: Report, order: Order) -> Iterable[str]:
    """When it begins, in the zone of each enrollment and the rep's."""
    launches = {person.launch.zone.key: person.launch for person in report.people if person.launch}
    counts = Counter(person.launch.zone.key for person in report.people if person.launch)
    rep_zone = parse_zone(order.rep.timezone)
    for zone, count in counts.most_common(MOST_LINES):
        launch = launches[zone]
        people = "1 person" if count == 1 else f"{count:,} people"
        if order.choices.start is not None:
            yield f"Kickoff: {moment(launch.plan.kickoff, launch.zone, rep_zone)}, {people}"
        yield f"{_first(launch)}: {moment(launch.due_at, launch.zone, rep_zone)}, {people}"
    if len(counts) > MOST_LINES:
        yield f"… and {len(counts) - MOST_LINES} more zones"


def _first(launch: Launch) -> str:
    first = launch.first
    name = f" '{first.label}'" if first.label != first.kind else ""
    return f"First step, {first.kind}{name}, {'opens' if first.is_task else 'leaves'}"


def _list(title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    say()
    say(title)
    for line in lines[:MOST_LINES]:
        say(f"  {line}")
    if len(lines) > MOST_LINES:
        say(f"  … and {len(lines) - MOST_LINES:,} more: --json lists all")


def _line(person: PersonReport) -> str:
    address = " ".join(person.email.split()) or "(no address)"
    return f"line {person.line}: {address}: {person.reason}"


def _lacking(report: Report) -> list[str]:
    """Token -> who lacks it, those first that most lack."""
    who: dict[str, list[str]] = {}
    for person in report.people:
        for token in person.missing:
            who.setdefault(token, []).append(f"{person.email} (line {person.line})")
    lines = []
    for token, people in sorted(who.items(), key=lambda item: -len(item[1])):
        more = f" and {len(people) - 5:,} more" if len(people) > 5 else ""
        lines.append(f"{token}: {', '.join(people[:5])}{more}")
    return lines


# The rejects file


def _write_rejects(people: Path, report: Report) -> Path | None:
    """Write the rejects beside the people, or remove those of an earlier run."""
    path = people.with_name(f"{people.stem}.rejects.csv")
    rejected = [person for person in report.people if person.result is Result.REJECTED]
    try:
        if not rejected:
            path.unlink(missing_ok=True)
            return None
        part = path.with_name(f".{path.name}.part")
        with part.open("w", encoding="utf-8", newline="") as file:
            write_rejects(file, ((one.line, one.email, one.reason) for one in rejected))
        part.replace(path)
    except OSError as error:
        # Everybody is enrolled by now: the report names the rejected rows as well.
        complain(f"{path}: the rejects cannot be written there: {(error.strerror or '').lower()}")
        return None
    return path
