"""`up` with stand-ins for Drumbeat's own parts; Temporal and its UI are the real ones.

`python -m tests.machine.fake_parts` runs it; `… PART PORT` is one of the stand-ins. FAKE_WORKER
says how the worker behaves: well, stubborn (it does not stop), or broken (it dies at once).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock, patch

from drumbeat.machine import up
from drumbeat.machine.parts import Part
from drumbeat.settings import Settings

_real_parts = up._own_parts


def fake_parts(settings: Settings, environment: Mapping[str, str]) -> list[Part]:
    """The same parts, run by this module."""
    return [
        replace(
            part,
            command=(sys.executable, "-m", "tests.machine.fake_parts", part.name, str(part.port)),
        )
        for part in _real_parts(settings, environment)
    ]


async def stand_in(name: str, port: str) -> None:
    """Listen on the port, or say the worker's line, until SIGTERM; then note who stopped."""
    behaviour = os.environ["FAKE_WORKER"]
    if name == "worker" and behaviour == "broken":
        print("the worker's last words")
        sys.exit(3)
    stop = asyncio.Event()
    stubborn = name == "worker" and behaviour == "stubborn"
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, (lambda: print("not yet")) if stubborn else stop.set
    )
    if port != "None":
        await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", int(port))
    print("worker ready" if name == "worker" else f"{name} is here", flush=True)
    await stop.wait()
    if name == "worker":
        await asyncio.sleep(0.3)  # as if a mail server's answer came only now
    _note(name)


def _note(name: str) -> None:
    with Path(os.environ["DRUMBEAT_HOME"], "stopped").open("a") as file:
        file.write(f"{name}\n")


def main() -> int:
    """Run `up`, or be one of its parts."""
    if len(sys.argv) > 1:
        asyncio.run(stand_in(*sys.argv[1:]))
        return 0
    # The database is not what is tried here.
    with patch.object(up, "_own_parts", fake_parts), patch.object(up, "migrate", AsyncMock()):
        return asyncio.run(up.up(Settings(), example=False))


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
