"""A site for tests: real tables and letters; Temporal only where a test brings it."""

from httpx2 import ASGITransport, AsyncClient
from temporalio.client import Client

from activities.letters import Letters
from drumbeat.actions import signing
from drumbeat.actions.errors import ActionError
from drumbeat.mail.links import Links
from drumbeat.mail.rendering import Renderer
from drumbeat.reps import Rep, Reps
from drumbeat.store import keys
from drumbeat.store import reps as reps_table
from drumbeat.store.engine import Store
from drumbeat.store.users import Role
from drumbeat.web.app import create_app
from drumbeat.web.site import Site, cookie_name
from tests.office import grace

BASE = "http://testserver"
LINKS = Links(BASE, ["an-example-secret-key-0123456789abcdef"])


async def no_temporal() -> Client:
    raise AssertionError("this page needs no Temporal")


async def make_site(
    store: Store,
    *reps: Rep,
    links: Links = LINKS,
    renderer: Renderer | None = None,
    **parts: object,
) -> Site:
    """A site; its reps stand in the table of reps."""
    async with store.write() as tx:
        known = Reps(reps or (grace(),), await keys.people_key(tx))
        await reps_table.sync(tx, known, await store.now(tx))
    # Who renders nothing needs no child process: it starts with the first letter.
    letters = Letters(renderer or Renderer(), links, known)
    given: dict[str, object] = {"connect": no_temporal, **parts}
    return Site(store=store, links=links, reps=known, letters=letters, **given)  # type: ignore[arg-type]  # a test's own


async def signed_in(
    site: Site, address: str = "grace@example.com", role: Role = Role.REP
) -> AsyncClient:
    """A client with the session of a user, who is added with that role where there is none yet."""
    async with site.store.read() as tx:
        rows = await reps_table.every(tx)
    name = next((row.name for row in rows if row.email == address), address)
    try:
        user_id = await signing.add_user(site.store, address, name, role, None)
    except ActionError:
        await signing.set_role(site.store, address, role, None)
        user_id = site.reps.id_of(next(rep for rep in site.reps if rep.email == address))
    cookie = await signing.open_session(site.store, user_id)
    return AsyncClient(
        transport=ASGITransport(create_app(site), client=("192.0.2.7", 1234)),
        base_url=BASE,
        cookies={cookie_name(site): cookie},
        headers={"Origin": BASE},
    )
