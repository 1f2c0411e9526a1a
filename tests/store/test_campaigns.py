import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import select

from drumbeat.store import campaigns
from drumbeat.store.engine import Store
from drumbeat.store.schema import blobs, campaign_versions
from tests.store.building import NOW, campaign

LATER = NOW + timedelta(hours=1)


async def test_a_version_comes_back_as_it_was_saved(store: Store) -> None:
    what = campaign()
    async with store.write() as tx:
        version = await campaigns.save(tx, what, {}, NOW)
        campaigns._versions.clear()
        loaded = await campaigns.load(tx, version)
        assert loaded == what
        assert loaded.version == version == what.version
        row = (await tx.execute(select(campaign_versions))).one()
        assert hashlib.sha256(row.content.encode()).hexdigest()[:16] == version


async def test_saving_again_changes_nothing_but_the_use(store: Store) -> None:
    async with store.write() as tx:
        await campaigns.save(tx, campaign(), {}, NOW)
        await campaigns.save(tx, campaign(), {}, LATER)
        row = (await tx.execute(select(campaign_versions))).one()
        assert (row.created_at, row.used_at) == (NOW, LATER)


async def test_an_edited_campaign_is_a_new_version_and_the_old_one_stays(store: Store) -> None:
    old, new = campaign(), campaign(name="Another introduction")
    async with store.write() as tx:
        first = await campaigns.save(tx, old, {}, NOW)
        second = await campaigns.save(tx, new, {}, LATER)
        assert first != second
        assert await campaigns.newest(tx, "intro") == new
        assert await campaigns.load(tx, first) == old
        row = await campaigns.find(tx, "intro")
        assert row is not None
        assert row.name == "Another introduction"
        await campaigns.save(tx, old, {}, LATER + timedelta(hours=1))
        assert await campaigns.newest(tx, "intro") == old


async def test_attachments_are_stored_once(store: Store) -> None:
    sha256 = hashlib.sha256(b"prices").hexdigest()
    async with store.write() as tx:
        await campaigns.save(tx, campaign(), {sha256: b"prices"}, NOW)
        await campaigns.save(tx, campaign("other"), {sha256: b"prices"}, NOW)
        assert len((await tx.execute(select(blobs))).all()) == 1
        assert await campaigns.blob(tx, sha256) == b"prices"


async def test_archiving_and_bringing_back(store: Store) -> None:
    async with store.write() as tx:
        await campaigns.save(tx, campaign(), {}, NOW)
        for at in (NOW, None):
            await campaigns.archive(tx, "intro", at)
            row = await campaigns.find(tx, "intro")
            assert row is not None
            assert row.archived_at == at
        assert [row.slug for row in await campaigns.every(tx)] == ["intro"]


async def test_what_is_not_there_is_named(store: Store) -> None:
    async with store.write() as tx:
        with pytest.raises(LookupError, match="no campaign version 0000"):
            await campaigns.load(tx, "0000")
        with pytest.raises(LookupError, match="no attachment 0000"):
            await campaigns.blob(tx, "0000")
        assert await campaigns.find(tx, "none") is None
        assert await campaigns.newest(tx, "none") is None
