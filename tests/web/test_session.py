"""Signing in and out, as SPEC section 13 says, sentence by sentence."""

from datetime import UTC, datetime, timedelta

import pytest
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import select

from drumbeat.actions import signing
from drumbeat.actions.errors import ActionError
from drumbeat.store import users
from drumbeat.store.engine import Store
from drumbeat.store.schema import audit, sessions
from drumbeat.store.users import Role
from drumbeat.web.app import create_app
from drumbeat.web.site import Site
from tests.web.site import BASE, make_site, signed_in

ADDRESS, PASSWORD = "grace@example.com", "correct horse battery"


async def with_user(store: Store, **parts: object) -> Site:
    site = await make_site(store, **parts)  # type: ignore[arg-type]  # the site's own
    await signing.add_user(store, ADDRESS, "Grace Hopper", Role.REP, None)
    await signing.set_password(store, ADDRESS, PASSWORD, None)
    return site


def browser(site: Site, *, host: str = "192.0.2.7", base: str = BASE) -> AsyncClient:
    transport = ASGITransport(create_app(site), client=(host, 1234))
    return AsyncClient(transport=transport, base_url=base, headers={"Origin": base})


async def test_whoever_is_not_signed_in_is_shown_the_way(store: Store) -> None:
    site = await with_user(store)
    async with browser(site) as client:
        page = await client.get("/tasks?kind=call")
        piece = await client.get("/tasks", headers={"HX-Request": "true"})
    assert (page.status_code, page.headers["location"]) == (
        303,
        "/sign-in?next=%2Ftasks%3Fkind%3Dcall",
    )
    assert (piece.status_code, "location" in piece.headers) == (401, False)


async def test_signing_in_opens_a_session_for_twelve_hours(store: Store) -> None:
    site = await with_user(store)
    async with browser(site) as client:
        answer = await client.post(
            "/sign-in", data={"address": ADDRESS, "password": PASSWORD, "next": "/people"}
        )
    assert (answer.status_code, answer.headers["location"]) == (303, "/people")
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Max-Age=43200", "Path=/"):
        assert part in cookie
    assert "Secure" not in cookie


async def test_behind_https_the_cookie_travels_over_that_only(store: Store) -> None:
    site = await with_user(store, is_secure=True)
    async with browser(site) as client:
        answer = await client.post("/sign-in", data={"address": ADDRESS, "password": PASSWORD})
    assert answer.headers["set-cookie"].startswith("__Host-drumbeat=")
    assert "Secure" in answer.headers["set-cookie"]


async def test_the_table_of_sessions_holds_no_cookie(store: Store) -> None:
    site = await with_user(store)
    _, cookie = await signing.sign_in(store, ADDRESS, PASSWORD)
    async with site.store.read() as tx:
        ids = (await tx.execute(select(sessions.c.id))).scalars().all()
    assert cookie not in ids


async def test_signing_in_again_changes_the_cookie_and_ends_the_old_session(store: Store) -> None:
    site = await with_user(store)
    async with browser(site) as client:
        for _ in range(2):
            await client.post("/sign-in", data={"address": ADDRESS, "password": PASSWORD})
        second = client.cookies["drumbeat"]
    async with store.read() as tx:
        rows = (await tx.execute(select(sessions.c.revoked_at))).scalars().all()
    assert len([row for row in rows if row is None]) == 1
    assert await signing.whose_session(store, second) is not None


async def test_signing_out_ends_the_session(store: Store) -> None:
    site = await make_site(store)
    async with await signed_in(site) as client:
        cookie = client.cookies["drumbeat"]
        answer = await client.post("/sign-out")
    assert answer.status_code == 303
    assert await signing.whose_session(store, cookie) is None


async def test_a_session_ends_by_itself(sqlite_store: Store) -> None:
    await with_user(sqlite_store)
    _, cookie = await signing.sign_in(sqlite_store, ADDRESS, PASSWORD)
    async with sqlite_store.read() as tx:
        later = datetime.now(UTC) + signing.SESSION + timedelta(seconds=1)
        assert await users.of_session(tx, cookie, later) is None
        assert await users.of_session(tx, cookie, later - timedelta(seconds=5)) is not None


async def test_a_new_password_and_shutting_out_end_all_sessions(store: Store) -> None:
    await with_user(store)
    _, first = await signing.sign_in(store, ADDRESS, PASSWORD)
    await signing.set_password(store, ADDRESS, "another long password", None)
    assert await signing.whose_session(store, first) is None
    _, second = await signing.sign_in(store, ADDRESS, "another long password")
    await signing.disable(store, ADDRESS, None)
    assert await signing.whose_session(store, second) is None
    with pytest.raises(ActionError):
        await signing.sign_in(store, ADDRESS, "another long password")


async def test_which_of_address_and_password_is_wrong_is_not_said(store: Store) -> None:
    site = await with_user(store)
    async with browser(site) as client:
        wrong = await client.post("/sign-in", data={"address": ADDRESS, "password": "x"})
        nobody = await client.post("/sign-in", data={"address": "x@example.com", "password": "x"})
    assert wrong.status_code == nobody.status_code == 403
    assert "address or password is wrong" in wrong.text
    assert "address or password is wrong" in nobody.text


async def test_ten_failures_lock_for_fifteen_minutes(store: Store) -> None:
    await with_user(store)
    for _ in range(10):
        with pytest.raises(ActionError, match="wrong"):
            await signing.sign_in(store, ADDRESS, "wrong")
    with pytest.raises(signing.Locked, match="15 min"):
        await signing.sign_in(store, ADDRESS, PASSWORD)
    async with store.write() as tx:
        row = await users.find(tx, ADDRESS)
        assert row is not None
        await users.change(tx, row.id, locked_until=datetime.now(UTC) - timedelta(seconds=1))
    user, _ = await signing.sign_in(store, ADDRESS, PASSWORD)
    assert user.email == ADDRESS


async def test_a_change_that_another_site_asks_for_is_refused(store: Store) -> None:
    site = await make_site(store)
    async with await signed_in(site) as client:
        for origin in ("https://evil.example", "null"):
            answer = await client.post("/sign-out", headers={"Origin": origin})
            assert answer.status_code == 403
        client.headers.pop("Origin")
        assert (await client.post("/sign-out")).status_code == 403


@pytest.mark.parametrize("there", ["https://evil.example/", "//evil.example", "/\\evil.example"])
async def test_signing_in_leads_to_no_other_site(sqlite_store: Store, there: str) -> None:
    site = await with_user(sqlite_store)
    async with browser(site) as client:
        given = {"address": ADDRESS, "password": PASSWORD, "next": there}
        answer = await client.post("/sign-in", data=given)
    assert answer.headers["location"] == "/"


async def test_under_up_whoever_sits_at_the_machine_is_signed_in(sqlite_store: Store) -> None:
    site = await with_user(sqlite_store, host_user=ADDRESS)
    async with browser(site, host="127.0.0.1", base="http://127.0.0.1:8080") as client:
        answer = await client.get("/tasks")
    assert (answer.status_code, answer.headers["location"]) == (303, "/tasks")
    assert answer.headers["set-cookie"].startswith("drumbeat=")


@pytest.mark.parametrize(
    ("host", "base"),
    [("192.0.2.7", "http://127.0.0.1:8080"), ("127.0.0.1", "http://rebound.example:8080")],
)
async def test_under_up_nobody_else_is(sqlite_store: Store, host: str, base: str) -> None:
    site = await with_user(sqlite_store, host_user=ADDRESS)
    async with browser(site, host=host, base=base) as client:
        answer = await client.get("/tasks")
    assert "set-cookie" not in answer.headers


async def test_sign_ins_passwords_and_roles_are_audited(store: Store) -> None:
    await with_user(store)
    await signing.sign_in(store, ADDRESS, PASSWORD)
    await signing.set_role(store, ADDRESS, Role.MANAGER, None)
    async with store.read() as tx:
        actions = (await tx.execute(select(audit.c.action).order_by(audit.c.id))).scalars().all()
    assert actions == ["user_add", "password", "sign_in", "role"]


async def test_a_password_is_long_enough_and_not_endless(sqlite_store: Store) -> None:
    await with_user(sqlite_store)
    for password in ("short", "x" * 1001):
        with pytest.raises(ActionError, match="characters"):
            await signing.set_password(sqlite_store, ADDRESS, password, None)
