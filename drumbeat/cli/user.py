"""`starter.py user …`: who signs in to the Command Center, and what each may do."""

import getpass
import sys
from typing import Annotated

from cyclopts import App, Parameter

from drumbeat.actions import signing
from drumbeat.cli.context import Context
from drumbeat.cli.errors import CommandRefused
from drumbeat.cli.output import print_json, print_table, say
from drumbeat.cli.parameters import Json, example
from drumbeat.store import users
from drumbeat.store.users import Role

commands = App(name="user", help="Who signs in to the Command Center, and what each may do.")

Address = Annotated[str, Parameter(help="The user's address.")]


@commands.command(name="list", help_epilogue=example("starter.py user list"))
async def list_users(*, json: Json = False) -> None:
    """List the users."""
    async with Context() as context:
        store = await context.store()
        async with store.read() as tx:
            rows = await users.every(tx)
    shown = [
        {
            "email": row.email,
            "name": row.name,
            "role": row.role,
            "can_sign_in": row.password is not None and row.disabled_at is None,
            "locked_until": row.locked_until,
            "disabled_at": row.disabled_at,
        }
        for row in rows
    ]
    if json:
        print_json(shown)
    elif shown:
        print_table(list(shown[0]), [list(user.values()) for user in shown])
    else:
        say("no users: add one with `starter.py user add`")


@commands.command(
    help_epilogue=example('starter.py user add grace@example.com --name "Grace Hopper"')
)
async def add(
    address: Address,
    *,
    name: Annotated[str, Parameter(help="As it is shown to others.")],
    role: Annotated[Role, Parameter(help="What the user may do.")] = Role.REP,
) -> None:
    """Add a user, and read the password.

    It is asked for, or read from standard input where that is no terminal. A rep signs in with the
    address of the reps file.
    """
    async with Context() as context:
        store = await context.store()
        password = _password()
        _refuse_short(password)
        await signing.add_user(store, _normal(address), name, role, None)
        await signing.set_password(store, address, password, None)
    say(f"{_normal(address)} may sign in, as {role}")


@commands.command(help_epilogue=example("starter.py user password grace@example.com"))
async def password(address: Address) -> None:
    """Set a new password; it ends the user's sessions."""
    async with Context() as context:
        await signing.set_password(await context.store(), address, _password(), None)
    say(f"{_normal(address)} has a new password")


@commands.command(help_epilogue=example("starter.py user role grace@example.com manager"))
async def role(address: Address, role: Role) -> None:
    """Change what a user may do: rep, manager or admin."""
    async with Context() as context:
        await signing.set_role(await context.store(), address, role, None)
    say(f"{_normal(address)} is now {role}")


@commands.command(help_epilogue=example("starter.py user disable grace@example.com"))
async def disable(address: Address, *, undo: bool = False) -> None:
    """Shut a user out at once.

    Args:
        address: The user's address.
        undo: Let the user in again.
    """
    async with Context() as context:
        await signing.disable(await context.store(), address, None, back=undo)
    say(f"{_normal(address)} {'may sign in again' if undo else 'is shut out'}")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    typed = getpass.getpass("Password: ")
    if typed != getpass.getpass("Again: "):
        raise CommandRefused("the two passwords differ: nothing was changed")
    return typed


def _refuse_short(password: str) -> None:
    if len(password) < signing.SHORTEST_PASSWORD:
        raise CommandRefused(
            f"a password has at least {signing.SHORTEST_PASSWORD} characters: nobody was added"
        )


def _normal(address: str) -> str:
    return address.strip().lower()
