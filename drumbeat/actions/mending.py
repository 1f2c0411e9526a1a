"""Change a person's data, and let what waited for it go on."""

import secrets
from collections.abc import Mapping

from drumbeat.actions.desk import Desk
from drumbeat.actions.errors import ActionError
from drumbeat.actions.steering import ForPerson, of_person, only_rep
from drumbeat.actions.telling import Told
from drumbeat.store import audit, outbox
from drumbeat.store import people as people_table


async def mend(desk: Desk, address: str, fields: Mapping[str, str]) -> ForPerson:
    """Change a person's data; whatever waits for it goes on.

    Args:
        desk: From where it is done.
        address: The person's.
        fields: Token -> its new text, blank: none any more; `email`, `timezone` and `id` too.

    Returns:
        Who was told; without keys where everything was so already.

    Raises:
        ActionError: There is no such person, or a field cannot be so.
    """
    person, rows, which = await of_person(desk, address, None)
    async with desk.store.write() as tx:
        now = await desk.store.now(tx)
        who = await desk.who(tx, only_rep(rows))
        try:
            has_changed = await people_table.mend(tx, person.id, fields, now)
        except people_table.BadField as error:
            raise ActionError(str(error)) from error
        if not has_changed:
            return ForPerson(Told(0, ()), rows, which)
        key = f"mended/{secrets.token_hex(8)}"
        count = await outbox.put_for_running(
            tx, which, kind="mended", key=key, payload={"who": who}, now=now
        )
        names = ", ".join(fields)
        await audit.append(tx, who=who, action="mend", target=person.id, why=names, now=now)
    return ForPerson(Told(count, (key,)), rows, which)
