"""Campaigns and their immutable versions, with the attachments of their templates."""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from drumbeat.campaign.model import Campaign
from drumbeat.store.engine import insert_new
from drumbeat.store.schema import blobs, campaign_versions, campaigns

_MOST_VERSIONS = 64
_versions: OrderedDict[str, Campaign] = OrderedDict()
"""The versions used last. They never change, so that a process needs to read each only once."""


async def save(
    tx: AsyncConnection, campaign: Campaign, attachments: Mapping[str, bytes], now: datetime
) -> str:
    """Store a campaign's version, its attachments too, unless it is there; gives its id."""
    row = {
        "slug": campaign.slug,
        "name": campaign.name,
        "category": campaign.category,
        "created_at": now,
    }
    if not await insert_new(tx, campaigns, row):
        await tx.execute(
            update(campaigns)
            .where(campaigns.c.slug == campaign.slug)
            .values(name=campaign.name, category=campaign.category)
        )
    version = campaign.version
    content = campaign.model_dump_json()
    await insert_new(
        tx,
        campaign_versions,
        {
            "version": version,
            "slug": campaign.slug,
            "content": content,
            "created_at": now,
            "used_at": now,
        },
    )
    await tx.execute(
        update(campaign_versions).where(campaign_versions.c.version == version).values(used_at=now)
    )
    await keep_blobs(tx, attachments)
    return version


async def keep_blobs(tx: AsyncConnection, contents: Mapping[str, bytes]) -> None:
    """Keep attachments' bytes, given by their SHA-256, unless they are there."""
    for sha256, data in contents.items():
        await insert_new(tx, blobs, {"sha256": sha256, "data": data})


async def load(tx: AsyncConnection, version: str) -> Campaign:
    """A stored version.

    Raises:
        LookupError: There is none.
    """
    if version in _versions:
        _versions.move_to_end(version)
        return _versions[version]
    found = await tx.execute(
        select(campaign_versions.c.content).where(campaign_versions.c.version == version)
    )
    content = found.scalar_one_or_none()
    if content is None:
        raise LookupError(f"the tables know no campaign version {version}")
    campaign = Campaign.model_validate(json.loads(content))
    _versions[version] = campaign
    while len(_versions) > _MOST_VERSIONS:
        _versions.popitem(last=False)
    return campaign


async def blob(tx: AsyncConnection, sha256: str) -> bytes:
    """An attachment's bytes.

    Raises:
        LookupError: They are not there.
    """
    found = await tx.execute(select(blobs.c.data).where(blobs.c.sha256 == sha256))
    data: bytes | None = found.scalar_one_or_none()
    if data is None:
        raise LookupError(f"the tables know no attachment {sha256}")
    return data


async def find(tx: AsyncConnection, slug: str) -> Row[Any] | None:
    """A campaign's row by its slug."""
    return (await tx.execute(select(campaigns).where(campaigns.c.slug == slug))).one_or_none()


async def every(tx: AsyncConnection) -> Sequence[Row[Any]]:
    """All campaigns, by category and name."""
    order = (campaigns.c.category, campaigns.c.name)
    return (await tx.execute(select(campaigns).order_by(*order))).all()


async def archive(tx: AsyncConnection, slug: str, at: datetime | None) -> None:
    """Take a campaign out of use for new people; None brings it back."""
    await tx.execute(update(campaigns).where(campaigns.c.slug == slug).values(archived_at=at))


async def newest(tx: AsyncConnection, slug: str) -> Campaign | None:
    """The version that was used last; None: there is no such campaign."""
    wanted = (
        select(campaign_versions.c.version)
        .where(campaign_versions.c.slug == slug)
        .order_by(campaign_versions.c.used_at.desc())
        .limit(1)
    )
    version = (await tx.execute(wanted)).scalar_one_or_none()
    return None if version is None else await load(tx, version)
