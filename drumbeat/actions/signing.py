"""Signing in: passwords, locks and sessions (SPEC section 13)."""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import Row

from drumbeat.actions.errors import ActionError
from drumbeat.reps import rep_id
from drumbeat.store import audit, keys, users
from drumbeat.store.engine import Store
from drumbeat.store.users import Role

MOST_FAILURES = 10
LOCKED_FOR = timedelta(minutes=15)
SESSION = timedelta(hours=12)
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1000
"""Characters: a longer one costs time to hash and is no password."""

_HASHER = PasswordHasher()  # argon2id, with the parameters of RFC 9106's second choice
_NOBODY = _HASHER.hash(secrets.token_hex(16))
"""Compared where there is no such user, so that the time taken tells nobody who is one."""
_WRONG = "address or password is wrong"


@dataclass(frozen=True, slots=True)
class User:
    """Who is signed in."""

    id: str
    """Also the rep's id, where the user is a rep."""
    email: str
    name: str
    role: Role
    single_keys: bool = True
    theme: str | None = None

    def may_as(self, role: Role) -> bool:
        """Whether this user may do what a role may."""
        order = list(Role)
        return order.index(self.role) >= order.index(role)


class Locked(ActionError):
    """Too many failures: nobody signs in to this account for a while."""


async def sign_in(store: Store, address: str, password: str) -> tuple[User, str]:
    """Check a password and open a session.

    Returns:
        The user, and the value for the session's cookie.

    Raises:
        Locked: Ten failures running; the account is locked for 15 minutes.
        ActionError: Address or password is wrong; which of them is not said.
    """
    async with store.read() as tx:
        now = await store.now(tx)
        row = await users.find(tx, address)
    if row is not None and row.locked_until is not None and row.locked_until > now:
        minutes = max(1, round((row.locked_until - now).total_seconds() / 60))
        raise Locked(f"too many failures: try again in {minutes} min")
    known = row.password if row is not None and row.disabled_at is None else None
    is_right = await asyncio.to_thread(_matches, known or _NOBODY, password)
    if row is None or known is None or not is_right:
        if row is not None:
            await _count_failure(store, row.id)
        raise ActionError(_WRONG)
    return user_of(row), await open_session(store, row.id)


async def open_session(store: Store, user_id: str) -> str:
    """Open a session for a user who has shown to be that one; the value for its cookie."""
    cookie = secrets.token_urlsafe(32)
    async with store.write() as tx:
        now = await store.now(tx)
        await users.change(tx, user_id, failures=0, locked_until=None)
        await users.open_session(tx, cookie, user_id, now, now + SESSION)
        await audit.append(tx, who=user_id, action="sign_in", target=user_id, why=None, now=now)
    return cookie


async def whose_session(store: Store, cookie: str) -> User | None:
    """The user of a session; None where it is over, revoked or made up."""
    async with store.read() as tx:
        row = await users.of_session(tx, cookie, await store.now(tx))
    return None if row is None else user_of(row)


async def sign_out(store: Store, cookie: str) -> None:
    """End a session."""
    async with store.write() as tx:
        await users.revoke(tx, cookie, await store.now(tx))


async def add_user(store: Store, address: str, name: str, role: Role, who: str | None) -> str:
    """Add a user; their id.

    Raises:
        ActionError: There is one with that address.
    """
    async with store.write() as tx:
        now = await store.now(tx)
        user_id = rep_id(await keys.people_key(tx), address)
        if not await users.add(tx, user_id=user_id, email=address, name=name, role=role, now=now):
            raise ActionError(f"{address} is a user already")
        await audit.append(tx, who=who, action="user_add", target=user_id, why=role, now=now)
    return user_id


async def set_password(store: Store, address: str, password: str, who: str | None) -> None:
    """Give a user a password; the sessions so far end.

    Raises:
        ActionError: There is no such user, or the password is too short.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise ActionError(f"a password has at least {SHORTEST_PASSWORD} characters")
    if len(password) > LONGEST_PASSWORD:
        raise ActionError(f"a password has at most {LONGEST_PASSWORD} characters")
    hashed = await asyncio.to_thread(_HASHER.hash, password)
    async with store.write() as tx:
        now = await store.now(tx)
        row = await users.find(tx, address)
        if row is None:
            raise ActionError(f"no user has the address {address}")
        await users.change(tx, row.id, password=hashed, failures=0, locked_until=None)
        await users.revoke_all(tx, row.id, now)
        await audit.append(tx, who=who, action="password", target=row.id, why=None, now=now)


async def set_role(store: Store, address: str, role: Role, who: str | None) -> None:
    """Change what a user may do, from the next request on.

    Raises:
        ActionError: There is no such user.
    """
    async with store.write() as tx:
        now = await store.now(tx)
        row = await users.find(tx, address)
        if row is None:
            raise ActionError(f"no user has the address {address}")
        await users.change(tx, row.id, role=role)
        await audit.append(tx, who=who, action="role", target=row.id, why=role, now=now)


async def disable(store: Store, address: str, who: str | None, *, back: bool = False) -> None:
    """Shut a user out at once, or let them in again.

    Raises:
        ActionError: There is no such user.
    """
    async with store.write() as tx:
        now = await store.now(tx)
        row = await users.find(tx, address)
        if row is None:
            raise ActionError(f"no user has the address {address}")
        await users.change(tx, row.id, disabled_at=None if back else now)
        await users.revoke_all(tx, row.id, now)
        action = "user_enable" if back else "user_disable"
        await audit.append(tx, who=who, action=action, target=row.id, why=None, now=now)


async def choose(store: Store, user_id: str, *, single_keys: bool, theme: str | None) -> None:
    """Keep what a user has chosen for themselves.

    Args:
        store: The database.
        user_id: Whose choice it is.
        single_keys: Whether single keys do something.
        theme: light or dark; None: the system's.
    """
    async with store.write() as tx:
        await users.change(tx, user_id, single_keys=single_keys, theme=theme)


def user_of(row: Row[Any]) -> User:
    """A user from the row."""
    return User(row.id, row.email, row.name, Role(row.role), row.single_keys, row.theme)


async def _count_failure(store: Store, user_id: str) -> None:
    async with store.write() as tx:
        now = await store.now(tx)
        row = await users.by_id(tx, user_id)
        if row is None:
            return
        failures = row.failures + 1
        if failures >= MOST_FAILURES:
            await users.change(tx, user_id, failures=0, locked_until=now + LOCKED_FOR)
            await audit.append(
                tx, who=None, action="locked", target=user_id, why="ten failures", now=now
            )
        else:
            await users.change(tx, user_id, failures=failures)


def _matches(hashed: str, password: str) -> bool:
    if len(password) > LONGEST_PASSWORD:
        return False
    try:
        return _HASHER.verify(hashed, password)
    except VerificationError:
        return False
