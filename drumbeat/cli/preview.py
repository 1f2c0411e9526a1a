"""`starter.py preview`: the calendar of a campaign, and its emails for one person."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from drumbeat.actions.previewing import LetterShown, Occasion, sender_of, show_letters
from drumbeat.campaign.model import Campaign
from drumbeat.campaign.people import BadAddress, PersonRow, normalise_address, read_people
from drumbeat.campaign.planning import enrollment_zone, make_plan, parse_moment, parse_zone
from drumbeat.campaign.preview import PreviewStep, preview
from drumbeat.cli.campaign_files import usable_campaign
from drumbeat.cli.context import reps_file
from drumbeat.cli.errors import CommandRefused
from drumbeat.cli.output import print_json, print_table, say
from drumbeat.cli.parameters import (
    Json,
    SendAt,
    Start,
    StepMoments,
    StepTimes,
    example,
    step_moments,
    step_times,
)
from drumbeat.mail.rendering import Renderer
from drumbeat.reps import Rep, read_reps
from drumbeat.settings import Settings

commands = App(
    name="preview",
    help_epilogue=example(
        "starter.py preview examples/intro/campaign.yaml --send-at now --letters \\",
        "    --people examples/people.csv --person ada@example.org",
    ),
)

_NOT_KNOWN = "not yet known"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

PersonTimezone = Annotated[
    str | None,
    Parameter(
        name="--person-timezone",
        help="The person's zone, an IANA name. Default: the CSV's for --person, else none.",
    ),
]
RepTimezone = Annotated[
    str | None,
    Parameter(
        name="--rep-timezone",
        help="The rep's zone, an IANA name. Default: the reps file's for the rep who writes.",
    ),
]
Letters = Annotated[
    bool, Parameter(name="--letters", help="Also show the emails for the person, rendered.")
]
People = Annotated[Path | None, Parameter(name="--people", help="A CSV file with the person.")]
Person = Annotated[
    str | None, Parameter(name="--person", help="The address of the person in the CSV file.")
]
RepAddress = Annotated[
    str | None,
    Parameter(
        name="--rep",
        help="Who writes: a rep's address. Default, for --letters: the reps file's first rep; "
        "without such a file the rep's tokens show their own names.",
    ),
]


@commands.default
async def show(
    campaign: Annotated[str, Parameter(name="CAMPAIGN", help="The campaign file, a path.")],
    /,
    *,
    start: Start = None,
    person_timezone: PersonTimezone = None,
    rep_timezone: RepTimezone = None,
    send_at: SendAt = None,
    at: StepTimes = None,
    done: StepMoments = None,
    letters: Letters = False,
    people: People = None,
    person: Person = None,
    rep: RepAddress = None,
    json: Json = False,
) -> None:
    """Show when every step is sent or opens, without any server.

    A task that --done does not name counts as over the moment it opens; what then hangs on the
    moment at which a rep sends an email is not yet known.
    """
    if (people is None) != (person is None):
        raise _usage("--people and --person go together: give both.")
    if letters and people is None:
        raise _usage("--letters shows one person's emails: give --people and --person.")
    file = usable_campaign(campaign)
    row = _person(people, person) if people is not None and person is not None else None
    settings = Settings()
    writer = _rep(settings, rep) if letters or rep is not None else None
    person_zone = person_timezone or (row.timezone if row else None)
    rep_zone = rep_timezone or (writer.timezone if writer else None)
    zone = enrollment_zone(file.campaign, person_zone, rep_zone)
    kickoff = parse_moment(start, zone) if start is not None else _now()
    plan = make_plan(
        file.campaign,
        kickoff=kickoff,
        person_zone=person_zone,
        rep_zone=rep_zone,
        send_at=send_at,
        times=step_times(at),
    )
    over = {step: parse_moment(moment, zone) for step, moment in step_moments(done).items()}
    walked = preview(plan, over, parse_zone(rep_zone))
    shown: list[LetterShown] = []
    if letters and row is not None:
        async with Renderer() as renderer:
            shown = await show_letters(
                file.campaign,
                file.attachments,
                walked,
                Occasion(row, sender_of(writer), zone, kickoff, f"{settings.public_url}/u/preview"),
                renderer,
            )
    if json:
        listed: dict[str, object] = {"steps": [step.as_json() for step in walked]}
        if letters:
            listed["letters"] = [asdict(letter) for letter in shown]
        print_json(listed)
        return
    say(f"{file.campaign.name}, kickoff {_local(kickoff.astimezone(zone))}, in {zone.key}")
    say()
    _print_steps(file.campaign, walked)
    for letter in shown:
        _print_letter(letter, walked[letter.step - 1])


def _usage(message: str) -> CycloptsError:
    return CycloptsError(msg=message, command_chain=("preview",))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _person(people: Path, address: str) -> PersonRow:
    reading = read_people(people)
    if reading.faults:
        raise CommandRefused(*(f"{people}: {fault}" for fault in reading.faults))
    try:
        wanted = normalise_address(address.strip())
    except BadAddress as error:
        raise CommandRefused(f"--person {address}: {error}") from error
    for row in reading.people:
        if row.email == wanted:
            return row
    for rejected in reading.rejected:
        if rejected.email.strip().lower() == address.strip().lower():
            where = f"{people}, line {rejected.line}"
            raise CommandRefused(f"{where}: {address} is rejected: {rejected.reason}")
    raise CommandRefused(f"{people}: there is no person with the address {address}")


def _rep(settings: Settings, address: str | None) -> Rep | None:
    """The rep who writes; None: any, and there is no file of reps."""
    if address is None and not settings.reps.exists():
        return None
    file = settings.reps if address is None else reps_file(settings)
    # Mailboxes are not used here: those that have no server may have any.
    reading = read_reps(file, local_smtp=f"smtp://127.0.0.1:{settings.smtp_port}")
    if reading.faults:
        raise CommandRefused(*map(str, reading.faults))
    if address is None:
        return reading.reps[0]
    for rep in reading.reps:
        if rep.email == address.strip().lower():
            return rep
    known = ", ".join(rep.email for rep in reading.reps)
    raise CommandRefused(f"{file}: there is no rep {address}: known are {known}")


def _print_steps(campaign: Campaign, walked: Sequence[PreviewStep]) -> None:
    rows = [
        (
            step.step,
            step.day,
            "send" if step.action == "send" else "task",
            _what(campaign, step),
            _NOT_KNOWN if step.at is None else _local(step.at),
        )
        for step in walked
    ]
    print_table(("step", "day", "action", "what", "when"), rows)


def _what(campaign: Campaign, walked: PreviewStep) -> str:
    step = campaign.step(walked.step)
    return f"{step.kind}: {step.called}" + (", follow-up" if walked.follow_up else "")


def _local(at: datetime) -> str:
    """A moment with its own zone, for people; not strftime's day, which follows the machine."""
    return f"{_DAYS[at.weekday()]} {at:%Y-%m-%d %H:%M} {at.tzname()}"


def _print_letter(letter: LetterShown, step: PreviewStep) -> None:
    when = _NOT_KNOWN if step.at is None else _local(step.at)
    say(f"\n--- step {letter.step}, day {step.day}, {when}")
    if letter.missing:
        say(f"It waits as missing data, for: {', '.join(letter.missing)}")
        return
    say(f"Subject: {letter.subject}")
    if letter.attachments:
        say(f"Attachments: {', '.join(letter.attachments)}")
    say(f"\n{letter.text.rstrip()}")
