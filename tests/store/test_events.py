from datetime import timedelta

from drumbeat.store import events
from drumbeat.store.engine import Store
from tests.store.building import NOW, enrollment, rep


async def test_an_event_is_appended_once_for_its_enrollment_and_key(store: Store) -> None:
    async with store.write() as tx:
        await rep(tx)
        await enrollment(tx, "e1")
        await enrollment(tx, "e2", person="p2")
        for enrollment_id, key, is_new in [
            ("e1", "1", True),
            ("e1", "1", False),
            ("e1", "2", True),
            ("e2", "1", True),
        ]:
            appended = await events.append(
                tx,
                enrollment_id=enrollment_id,
                key=key,
                person_id="p1",
                campaign="intro",
                at=NOW - timedelta(seconds=int(key)),
                what="sent",
                step=1,
                detail={"code": "x"},
            )
            assert appended is is_new
        timeline = await events.of_enrollment(tx, "e1")
        assert [row.key for row in timeline] == ["2", "1"]
        assert timeline[0].detail == {"code": "x"}
        assert timeline[0].at == NOW - timedelta(seconds=2)
