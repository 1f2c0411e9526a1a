"""`mailbox`: the reps' mailboxes within their limits, proved, held and released."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from cyclopts import App, Parameter

from drumbeat.actions import mailboxes
from drumbeat.actions.desk import moment
from drumbeat.actions.mailboxes import MailboxShown
from drumbeat.actions.telling import Told, unconfirmed
from drumbeat.cli.context import Context
from drumbeat.cli.errors import CommandRefused
from drumbeat.cli.output import print_json, print_table, say
from drumbeat.cli.parameters import As, Json, Reason, Until, example
from drumbeat.cli.told import tell
from drumbeat.mail.sending import SmtpMailer
from drumbeat.reps import Reps

commands = App(name="mailbox", help="The reps' mailboxes: limits, proof, holds.")

Address = Annotated[str, Parameter(help="The rep's email address.")]
MaybeAddress = Annotated[str | None, Parameter(help="The rep's email address.")]
All = Annotated[bool, Parameter(name="--all", help="All mailboxes, as after restoring a backup.")]


@commands.command(name="list", help_epilogue=example("starter.py mailbox list"))
async def list_mailboxes(*, json: Json = False) -> None:
    """Each mailbox with its server, its use within each limit, its holds, and its last proof."""
    async with Context() as context:
        known = await context.reps()
        store = await context.store()
        async with store.read() as tx:
            shown = await mailboxes.every(tx, known, await store.now(tx))
    if json:
        print_json([_mailbox_json(each) for each in shown])
    else:
        columns = ("rep", "address", "server", "limits", "first emails today", "proved", "state")
        print_table(columns, [_row(each) for each in shown])


@commands.command(help_epilogue=example("starter.py mailbox check grace@example.com"))
async def check(address: Address, /, *, json: Json = False) -> int:
    """Connect to a mailbox's server and sign in, as for an email; nothing is sent."""
    async with Context() as context:
        known = await context.reps()
        desk = await context.desk()
        mailer = SmtpMailer()
        try:
            proof = await mailboxes.check(desk, mailer, known, address)
        finally:
            await mailer.close()
    if not json and not proof.ok:
        raise CommandRefused(f"{address.strip()} does not work: {proof.text}")
    if json:
        print_json({"address": address.strip(), "ok": proof.ok, "text": proof.text})
    else:
        say(f"{address.strip()} works: {proof.text}")
    return 0 if proof.ok else 1


@commands.command(
    help_epilogue=example(
        "starter.py mailbox hold grace@example.com --reason 'moving to a new server'",
        "starter.py mailbox hold --all --reason 'the database was restored'",
    )
)
async def hold(
    address: MaybeAddress = None,
    /,
    *,
    all_: All = False,
    until: Until = None,
    reason: Reason = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Let nothing leave from a mailbox until it is released."""
    async with Context() as context:
        known = await context.reps()
        desk = await context.desk(acting)
        which = _which(known, address, all_)
        told, at = await mailboxes.hold(desk, known, which, until=until, reason=reason)
        zones = [mailboxes.zone_of(mailboxes.rep_of(known, each)) for each in which]
        end = f" until {moment(at, *zones)}" if at else ""
        text = f"held{end}: {', '.join(which)}; {_people(told, 'wait', 'waits')}"
        told_json = {"addresses": list(which), "enrollments": told.enrollments, "until": at}
        await tell(text, unconfirmed(desk.store, told), json=json, **told_json)


@commands.command(help_epilogue=example("starter.py mailbox release grace@example.com"))
async def release(
    address: MaybeAddress = None,
    /,
    *,
    all_: All = False,
    reason: Reason = None,
    acting: As = None,
    json: Json = False,
) -> None:
    """Let emails leave from a mailbox again; its troubles count anew from here."""
    async with Context() as context:
        known = await context.reps()
        desk = await context.desk(acting)
        which = _which(known, address, all_)
        told = await mailboxes.release(desk, known, which, reason=reason)
        text = f"released: {', '.join(which)}; {_people(told, 'go on', 'goes on')}"
        told_json = {"addresses": list(which), "enrollments": told.enrollments}
        await tell(text, unconfirmed(desk.store, told), json=json, **told_json)


def _people(told: Told, several: str, one: str) -> str:
    if told.enrollments == 1:
        return f"1 enrollment {one}"
    return f"{told.enrollments} enrollments {several}"


def _which(known: Reps, address: str | None, is_all: bool) -> Sequence[str]:
    if is_all == (address is not None):
        raise CommandRefused("give a rep's address, or --all")
    return [rep.email for rep in known] if address is None else [address]


def _mailbox_json(one: MailboxShown) -> dict[str, Any]:
    return {
        "rep": one.rep.name,
        "address": one.rep.email,
        "server": one.server,
        "limits": [
            {
                "limit": use.limit.count,
                "seconds": int(use.limit.span.total_seconds()),
                "used": use.used,
            }
            for use in one.uses
        ],
        "first_emails": {
            "date": one.first_emails.on,
            "limit": one.first_emails.limit,
            "used": one.first_emails.used,
        },
        "places": one.places,
        "last_place_at": one.last_place,
        "holds": [
            {"set_at": hold.set_at, "until": hold.until, "reason": hold.reason, "who": hold.who}
            for hold in one.holds
        ],
        "trouble": one.trouble,
        "proved_at": one.proved_at,
    }


def _row(one: MailboxShown) -> tuple[object, ...]:
    uses = [f"{use.used} of {use.limit.count} in {_span(use.limit.span)}" for use in one.uses]
    first = one.first_emails
    return (
        one.rep.name,
        one.rep.email,
        one.server,
        ("; ".join(uses) or "no limits") + (f"; {one.places} wait" if one.places else ""),
        f"{first.used}" + (f" of {first.limit}" if first.limit is not None else ""),
        moment(one.proved_at, one.zone) if one.proved_at else "never",
        _state(one),
    )


def _state(one: MailboxShown) -> str:
    parts = []
    for hold in one.holds:
        by = f", by {hold.who}" if hold.who else ""
        until = f", until {moment(hold.until, one.zone)}" if hold.until else ""
        reason = f": {hold.reason}" if hold.reason else ""
        parts.append(f"held since {moment(hold.set_at, one.zone)}{by}{until}{reason}")
    if one.trouble and not parts:
        parts.append(f"trouble: {one.trouble}")
    return "; ".join(parts) or "open"


def _span(span: timedelta) -> str:
    """A span as the reps file writes it: 45 s, 24 h."""
    seconds = int(span.total_seconds())
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
