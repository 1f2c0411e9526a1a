"""`block`: domains whose people get no email, whatever the campaign."""

from typing import Annotated

from cyclopts import App, Parameter

from drumbeat.actions import suppressing
from drumbeat.actions.telling import unconfirmed
from drumbeat.cli.context import Context
from drumbeat.cli.parameters import As, Json, Reason, example
from drumbeat.cli.suppress import WhyLifted, lift, list_standing, tell

commands = App(name="block", help="Domains whose people get no email, whatever the campaign.")

Domain = Annotated[
    str, Parameter(help="A domain such as example.com; its sub-domains are blocked by themselves.")
]


@commands.command(help_epilogue=example("starter.py block add example.com --reason competitor"))
async def add(
    domain: Domain, /, *, reason: Reason = None, acting: As = None, json: Json = False
) -> None:
    """Send nothing more to a domain, and end running enrollments there as removed."""
    async with Context() as context:
        desk = await context.desk(acting)
        done = await suppressing.block_domain(desk, domain, reason)
        waiting = await unconfirmed(desk.store, done.told)
    tell("blocked", done, waiting, json=json)


@commands.command(
    name="lift",
    help_epilogue=example('starter.py block lift example.com --reason "they are customers now"'),
)
async def lift_domain(
    domain: Domain, /, *, reason: WhyLifted, acting: As = None, json: Json = False
) -> None:
    """Let email go to a domain again. What has ended stays ended: enroll with --again."""
    await lift("domain", domain, reason, acting, json=json)


@commands.command(name="list", help_epilogue=example("starter.py block list --json"))
async def list_domains(*, json: Json = False) -> None:
    """The domains that get no email."""
    await list_standing("domain", json=json)
