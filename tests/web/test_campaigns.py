"""Campaigns: the list, one campaign, what managers do, and the upload of campaign files."""

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from httpx2 import Response
from sqlalchemy import select, update

from drumbeat.campaign.model import Campaign
from drumbeat.campaign.reading import read_campaign
from drumbeat.campaign.states import HoldKind
from drumbeat.store import campaigns
from drumbeat.store.engine import Store
from drumbeat.store.schema import audit, campaign_versions, enrollments, holds
from drumbeat.store.users import Role
from drumbeat.web.site import Site
from tests.office import grace
from tests.web.at_work import counted
from tests.web.rows import enrolled
from tests.web.site import make_site, signed_in

ALAN = grace(email="alan@example.com", name="Alan Turing")
NOTHING: Mapping[str, bytes] = {}
EXAMPLE = Path(__file__).parents[2] / "examples" / "intro"
AT = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)


async def stored(store: Store, **changes: object) -> Campaign:
    """The example campaign, in the tables."""
    reading = read_campaign(EXAMPLE / "campaign.yaml")
    assert reading.campaign is not None
    campaign = reading.campaign.model_copy(update=changes)
    async with store.write() as tx:
        await campaigns.save(tx, campaign, reading.attachments, await store.now(tx))
    return campaign


async def get(site: Site, path: str, role: Role = Role.MANAGER, **more: str) -> Response:
    async with await signed_in(site, more.get("who", "grace@example.com"), role) as client:
        return await client.get(path)


async def post(site: Site, path: str, role: Role = Role.MANAGER, **fields: str) -> Response:
    async with await signed_in(site, "grace@example.com", role) as client:
        return await client.post(path, data=fields)


async def upload(
    site: Site, name: str, content: bytes, role: Role = Role.MANAGER, of: str = ""
) -> Response:
    async with await signed_in(site, "grace@example.com", role) as client:
        return await client.post(
            "/campaigns/_new", data={"of": of}, files={"file": (name, content)}
        )


def zipped(
    more: Mapping[str, bytes] = NOTHING, *, folder: Path = EXAMPLE, inside: str = ""
) -> bytes:
    """A campaign's folder as a zip; `more`: files that are added or take another's place."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in more:
                archive.write(path, inside + name)
        for name, data in more.items():
            archive.writestr(inside + name, data)
    return content.getvalue()


async def test_the_list_groups_campaigns_by_category_with_their_figures(store: Store) -> None:
    await stored(store)
    await stored(store, slug="renewal", name="Renewal 2027", category="Customers")
    await enrolled(store)
    await enrolled(store, "b@example.org", outcome="success")
    await enrolled(store, "c@example.org", outcome="removed")
    site = await make_site(store)
    shown = (await get(site, "/campaigns")).text
    assert shown.index("Customers") < shown.index("Renewal 2027") < shown.index("Prospecting")
    assert "50.0 %" in shown and "1 of 2" in shown


async def test_a_search_stands_in_the_address_and_offers_a_way_out(store: Store) -> None:
    await stored(store)
    await stored(store, slug="renewal", name="Renewal 2027", category="Customers")
    site = await make_site(store)
    found = (await get(site, "/campaigns?q=renew")).text
    assert "Renewal 2027" in found and "Q4 introduction" not in found
    nothing = (await get(site, "/campaigns?q=nothing%25")).text
    assert "No campaign matches" in nothing and 'href="/campaigns"' in nothing


async def test_archived_campaigns_are_a_tab_of_their_own(store: Store) -> None:
    await stored(store)
    site = await make_site(store)
    answer = await post(site, "/campaigns/intro-q4/archive")
    assert answer.headers["Location"] == "/campaigns/intro-q4?said=archive&n=0"
    assert "Q4 introduction" not in (await get(site, "/campaigns")).text
    assert "Q4 introduction" in (await get(site, "/campaigns?show=archived")).text
    page = (await get(site, "/campaigns/intro-q4")).text
    assert "it takes nobody new" in page and "/campaigns/intro-q4/enroll" not in page
    await post(site, "/campaigns/intro-q4/unarchive")
    assert "/campaigns/intro-q4/enroll" in (await get(site, "/campaigns/intro-q4")).text


async def test_a_campaign_shows_its_steps_calendar_and_people_by_state(store: Store) -> None:
    await stored(store)
    await enrolled(store)
    await enrolled(store, "b@example.org", sent=2)
    await enrolled(store, "c@example.org", outcome="replied_success")
    site = await make_site(store)
    page = (await get(site, "/campaigns/intro-q4")).text
    assert "Introduce yourself" in page and "Day 4, 09:30, follow-up" in page
    assert "/people?campaign=intro-q4&amp;state=sleeping" in page
    assert "/people?campaign=intro-q4&amp;state=ended&amp;outcome=replied_success" in page
    assert "100.0 %" in page


async def test_a_rep_sees_the_figures_of_their_own_people_only(store: Store) -> None:
    await stored(store)
    await enrolled(store)
    site = await make_site(store, grace(), ALAN)
    await enrolled(store, "b@example.org")
    theirs = (await get(site, "/campaigns/intro-q4", Role.REP, who="alan@example.com")).text
    assert "Nobody is enrolled yet" in theirs
    everybody = (await get(site, "/campaigns/intro-q4", Role.MANAGER, who="alan@example.com")).text
    assert "Nobody is enrolled yet" not in everybody


async def test_an_unknown_campaign_is_404(store: Store) -> None:
    site = await make_site(store)
    assert (await get(site, "/campaigns/nothing")).status_code == 404
    assert (await post(site, "/campaigns/nothing/hold")).status_code == 404


@pytest.mark.parametrize("action", ["hold", "release", "end", "retry", "archive", "unarchive"])
async def test_a_rep_does_nothing_to_a_whole_campaign(store: Store, action: str) -> None:
    await stored(store)
    site = await make_site(store)
    assert (await post(site, f"/campaigns/intro-q4/{action}", Role.REP)).status_code == 403
    assert (await get(site, f"/campaigns/intro-q4/{action}", Role.REP)).status_code == 403
    page = (await get(site, "/campaigns/intro-q4", Role.REP)).text
    assert "<dialog" not in page and f"intro-q4/{action}" not in page


async def test_a_manager_holds_and_releases_a_campaign_for_so_many_people(store: Store) -> None:
    await stored(store)
    await enrolled(store)
    site = await make_site(store)
    assert "It holds 1 person who run" in (await get(site, "/campaigns/intro-q4/hold")).text
    answer = await post(site, "/campaigns/intro-q4/hold", reason="a fair")
    assert answer.headers["Location"] == "/campaigns/intro-q4?said=hold&n=1"
    page = (await get(site, "/campaigns/intro-q4?said=hold&n=1")).text
    assert "Held by Grace Hopper" in page and "a fair" in page and "Held, for 1 person." in page
    async with store.read() as tx:
        row = (await tx.execute(select(holds))).one()
    assert (row.kind, row.target, row.reason) == (HoldKind.CAMPAIGN, "intro-q4", "a fair")
    await post(site, "/campaigns/intro-q4/release")
    assert "Held by" not in (await get(site, "/campaigns/intro-q4")).text


async def test_a_moment_that_has_passed_is_refused_and_nothing_typed_is_lost(store: Store) -> None:
    await stored(store)
    site = await make_site(store)
    answer = await post(site, "/campaigns/intro-q4/hold", until="2020-01-01T09:00", reason="a fair")
    assert answer.status_code == 409
    assert "has passed already" in answer.text
    assert 'value="2020-01-01T09:00"' in answer.text and 'value="a fair"' in answer.text


async def test_a_manager_ends_a_campaign_for_everybody(store: Store) -> None:
    await stored(store)
    one = await enrolled(store)
    site = await make_site(store)
    answer = await post(site, "/campaigns/intro-q4/end", success="yes", reason="sold")
    assert answer.headers["Location"] == "/campaigns/intro-q4?said=end&n=1"
    async with store.read() as tx:
        row = (await tx.execute(select(enrollments).where(enrollments.c.id == one))).one()
    assert row.end_asked["outcome"] == "success"
    nobody = await post(site, "/campaigns/intro-q4/retry")
    assert nobody.status_code == 409 and "nothing failed or is blocked" in nobody.text


async def test_a_page_makes_few_queries(store: Store) -> None:
    await stored(store)
    await enrolled(store)
    site = await make_site(store)
    await post(site, "/campaigns/intro-q4/hold")
    async with await signed_in(site, "grace@example.com", Role.MANAGER) as client:
        for path in ("/campaigns", "/campaigns/intro-q4"):
            site.figures.clear()
            async with counted(store) as made:
                assert (await client.get(path)).status_code == 200
            assert len(made) <= 10, made


# Uploads


@pytest.mark.parametrize("inside", ["", "intro/"])
async def test_a_zip_of_a_campaigns_folder_is_stored_as_its_newest_version(
    store: Store, inside: str
) -> None:
    site = await make_site(store)
    answer = await upload(site, "intro.zip", zipped(inside=inside))
    assert answer.status_code in (200, 303)
    reading = read_campaign(EXAMPLE / "campaign.yaml")
    assert reading.campaign is not None
    async with store.read() as tx:
        newest = await campaigns.newest(tx, "intro-q4")
        acts = [row.action for row in await tx.execute(select(audit))]
        for sha256 in reading.attachments:
            assert await campaigns.blob(tx, sha256) == reading.attachments[sha256]
    assert newest == reading.campaign
    assert "store_campaign" in acts


FAULTY = b"""\
campaign: intro-q4
name: Q4 introduction
settings:
  skip_weekend: true
days:
  - day: 1
    steps:
      - call: Hello
"""


async def test_a_campaign_with_faults_is_shown_with_its_lines_and_nothing_is_stored(
    store: Store,
) -> None:
    site = await make_site(store)
    answer = await upload(site, "intro-q4.yaml", FAULTY)
    assert answer.status_code == 409
    assert "intro-q4.yaml was refused: 1 fault." in answer.text
    assert "intro-q4.yaml 4:3" in answer.text and "<u>skip_weekend</u>: true" in answer.text
    assert "/tmp" not in answer.text
    async with store.read() as tx:
        assert (await tx.execute(select(campaign_versions))).all() == []


async def test_what_a_file_says_is_shown_as_text(store: Store) -> None:
    site = await make_site(store)
    answer = await upload(site, "<b>.yaml", b"<script>alert(1)</script>: 1\n")
    assert answer.status_code == 409 and "<script>alert" not in answer.text
    assert "<b>.yaml" not in answer.text


async def test_warnings_are_shown_though_the_campaign_is_stored(store: Store) -> None:
    site = await make_site(store)
    body = b"subject: Hello\n---\nHello {{ shoe_size }}\n"
    answer = await upload(site, "a.zip", zipped({"templates/intro.html": b"---\n" + body}))
    assert answer.status_code == 200 and "is stored, with" in answer.text
    assert "shoe_size" in answer.text and "templates/intro.html 4:" in answer.text


async def test_a_new_version_must_be_of_the_same_campaign(store: Store) -> None:
    await stored(store, slug="renewal")
    site = await make_site(store)
    answer = await upload(site, "intro.zip", zipped(), of="renewal")
    assert answer.status_code == 409 and "not renewal" in answer.text


async def test_only_managers_upload(store: Store) -> None:
    site = await make_site(store)
    assert (await upload(site, "intro.zip", zipped(), Role.REP)).status_code == 403
    assert (await get(site, "/campaigns/_new", Role.REP)).status_code == 403


def linked(target: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        link = zipfile.ZipInfo("templates/intro.html")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, target)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (zipped({"../outside.html": b"x"}), "leads out of its folder"),
        (zipped({"/etc/outside": b"x"}), "leads out of its folder"),
        (zipped({"a\\..\\b": b"x"}), "leads out of its folder"),
        (linked("/etc/passwd"), "no plain file"),
        (zipped({f"files/{n}.txt": b"x" for n in range(201)}), "at most 200"),
        (zipped({"more.yaml": b"x", "campaign.yml": b"x"}), "several campaign files"),
        (zipped(folder=EXAMPLE / "templates"), "no campaign file"),
        (b"PK\x03\x04 nothing else", "neither a campaign file"),
        (b"\x89PNG", "neither a campaign file"),
    ],
)
async def test_what_is_no_campaign_is_refused_with_its_reason(
    store: Store, content: bytes, why: str
) -> None:
    site = await make_site(store)
    answer = await upload(site, "intro.zip", content)
    assert answer.status_code == 409
    assert why in answer.text


async def test_a_zip_that_unpacks_to_too_much_is_refused(store: Store) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("files/bomb", b"\0" * 25_000_001)
    site = await make_site(store)
    answer = await upload(site, "intro.zip", content.getvalue())
    assert answer.status_code == 409 and "more than 25 MB" in answer.text


async def test_no_file_is_said_in_a_sentence(store: Store) -> None:
    site = await make_site(store)
    answer = await post(site, "/campaigns/_new", of="")
    assert answer.status_code == 409 and "choose a file first" in answer.text


async def test_its_numbers_lead_to_the_people_they_count(store: Store) -> None:
    await stored(store)
    waiting = await enrolled(store)
    await enrolled(store, "b@example.org", outcome="success")
    await enrolled(store, "c@example.org", outcome="removed")
    async with store.write() as tx:
        await tx.execute(update(enrollments).where(enrollments.c.id == waiting).values(step=3))
    site = await make_site(store)
    page = (await get(site, "/campaigns/intro-q4")).text
    for link, address in (
        ("/people?campaign=intro-q4&amp;step=3", "ada@example.org"),
        ("/people?campaign=intro-q4&amp;state=ended&amp;outcome=success", "b@example.org"),
        ("/people?campaign=intro-q4&amp;state=ended&amp;outcome=removed", "c@example.org"),
    ):
        assert link in page
        listed = (await get(site, link.replace("&amp;", "&"))).text
        people = ("ada@example.org", "b@example.org", "c@example.org")
        assert [one for one in people if one in listed] == [address]
    assert "ada@example.org" in (await get(site, "/people?step=three&outcome=none")).text


async def test_a_campaign_that_is_called_new_has_its_page(sqlite_store: Store) -> None:
    await stored(sqlite_store, slug="new", name="New arrivals")
    site = await make_site(sqlite_store)
    assert "New arrivals" in (await get(site, "/campaigns/new")).text
