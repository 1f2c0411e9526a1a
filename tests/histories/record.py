"""Record the histories anew: `python -m tests.histories.record [NAME …]`.

Before a first release only, and said so in the commit: afterwards a recorded history stays, and the
workflow is changed with `patched`.
"""

import asyncio
import os
import re
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from drumbeat.temporal.client import connect
from tests.histories.paths import PATHS
from tests.mail.memory import MemoryMailer
from tests.office import open_office
from tests.temporal_server import running_server

FOLDER = Path(__file__).parent
_IDENTITY = re.compile(r'"identity": "[^"]*"')
"""Process number and host name: of no use to a replay."""


async def record(names: list[str]) -> None:
    """Walk the paths, one after another, and keep what Temporal has written down."""
    with tempfile.TemporaryDirectory() as folder:
        async with running_server(Path(folder)) as server:
            client = await connect(environment=server.environment, patience=timedelta(seconds=10))
            for name in names:
                url = f"sqlite:///{folder}/{name}.db"
                mailer = MemoryMailer()
                async with open_office(url, client, mailer) as office:
                    enrolled = await PATHS[name](office, mailer)
                    result = await asyncio.wait_for(enrolled.handle.result(), 30)
                    history = await enrolled.handle.fetch_history()
                text = _IDENTITY.sub('"identity": "recorder"', history.to_json())
                (FOLDER / f"{name}.json").write_text(text + "\n")
                print(f"{name}: {result.outcome}, {len(history.events)} events", flush=True)


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(PATHS)))
    sys.stdout.flush()
    os._exit(0)  # Temporal's SDK may crash at the interpreter's own end
