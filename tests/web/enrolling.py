"""What the tests of the screens of enrolling have in common."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from httpx2 import AsyncClient, Response

from drumbeat.campaign.model import Campaign, Day, EmailStep, Send, TaskStep, Template
from drumbeat.mail.rendering import Renderer
from drumbeat.store import campaigns
from drumbeat.store.engine import Store
from drumbeat.store.users import Role
from drumbeat.web.site import Site
from tests.mail.memory import MemoryMailer
from tests.office import grace
from tests.web.site import make_site, signed_in

ALAN = grace(email="alan@example.com", name="Alan Turing")
HERE = "/campaigns/hello/enroll"
PEOPLE = b"""\
email,first_name,last_name,company,lanes
ada@example.org,Ada,Lovelace,Engines,12
grace.h@example.org,Grace,Hopper,Navy,
not-an-address,No,Body,Nowhere,1
"""


def hello(*, first: Send = Send.CHOOSE, needs: str = "first_name", slug: str = "hello") -> Campaign:
    """An email whose time is chosen, a call, and an email at a fixed time that needs a token."""
    intro = Template(
        name="intro",
        subject="Hello {{ first_name }}",
        body=f"<p>Hello {{{{ {needs} }}}},</p><p>I am {{{{ my_name }}}}.</p>",
        is_html=True,
    )
    lanes = Template(name="lanes", subject="Lanes", body="<p>{{ lanes }} lanes</p>", is_html=True)
    return Campaign(
        slug=slug,
        name="Hello there",
        days=(
            Day(
                day=1,
                steps=(
                    EmailStep(template=intro, send=first),
                    TaskStep(kind="call", subject="Call them"),
                ),
            ),
            Day(
                day=3,
                steps=(
                    EmailStep.model_validate(
                        {"template": lanes, "send": "fixed", "send_time": "09:30"}
                    ),
                ),
            ),
        ),
    )


async def keep(store: Store, campaign: Campaign) -> Campaign:
    async with store.write() as tx:
        await campaigns.save(tx, campaign, {}, await store.now(tx))
    return campaign


@asynccontextmanager
async def visiting(
    store: Store,
    folder: Path,
    role: Role = Role.REP,
    address: str = "grace@example.com",
    campaign: Campaign | None = None,
) -> AsyncIterator[tuple[AsyncClient, Site]]:
    """A browser on a site whose uploads lie in that folder."""
    await keep(store, campaign or hello())
    async with Renderer() as renderer:
        site = await make_site(store, grace(), ALAN, renderer=renderer, uploads=folder / "uploads")
        async with await signed_in(site, address, role) as browser:
            yield browser, site


async def upload(
    browser: AsyncClient, content: bytes = PEOPLE, here: str = HERE, **fields: str
) -> Response:
    return await browser.post(here, data=fields, files={"file": ("people.csv", content)})


async def uploaded(
    browser: AsyncClient, content: bytes = PEOPLE, here: str = HERE, **fields: str
) -> str:
    """The address of the check."""
    answer = await upload(browser, content, here, **fields)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["Location"])


async def until_over(browser: AsyncClient, check: str) -> str:
    """The page of the last screen once the run is over."""
    async with asyncio.timeout(60):
        while True:
            page = (await browser.get(f"{check}/start")).text
            if 'id="progress"' not in page:
                return page
            await asyncio.sleep(0)


async def own_campaign(store: Store) -> str:
    """A campaign of this test alone, as all tests share one Temporal; where people come into it."""
    campaign = await keep(store, hello(slug=f"hello-{secrets.token_hex(4)}"))
    return f"/campaigns/{campaign.slug}/enroll"


async def sent(mailer: MemoryMailer, number: int) -> dict[str, str]:
    """Recipient -> subject, once so many emails have been taken."""
    async with asyncio.timeout(60):
        while len(mailer.received) < number:  # noqa: ASYNC110 (a mailer tells of nothing)
            await asyncio.sleep(0)
    found = {}
    for one in mailer.received:
        message = message_from_bytes(one.content, policy=default)
        found[one.recipients[0]] = str(message["Subject"])
    return found


def set_part(site: Site, name: str, value: object) -> None:
    """Change a part of a site, which is frozen."""
    object.__setattr__(site, name, value)
