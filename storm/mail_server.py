"""The storm's mail server: writes down what it has accepted before it says so.

Run as `python -m storm.mail_server --port 2525 --log accepted.jsonl`. Killed at any moment, its log
is the truth of what it has taken: a line stands there before the 250 leaves.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"
LONGEST_PAUSE = 0.25
"""Seconds before the email is written down, and again before the 250: where a kill may fall."""

_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(<[^>]+>)", re.IGNORECASE | re.MULTILINE)


class StormServer:
    """Accepts everything."""

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Write an email down and accept it; called by aiosmtpd with its whole content."""
        await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))
        found = _MESSAGE_ID.search(envelope.original_content or b"")
        line = {
            "at": time.time(),
            "message_id": found[1].decode() if found else None,
            "to": envelope.rcpt_tos[0],
        }
        os.write(self._log, json.dumps(line).encode() + b"\n")  # whole, or not at all
        await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))
        return "250 2.0.0 Written down"


async def serve(port: int, log: Path) -> None:
    """Run until SIGTERM; then everything is cut off at once, whatever is under way."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    handler = StormServer(log)
    await loop.create_server(
        lambda: SMTP(handler, hostname="mail.test", ident="storm", loop=loop), HOST, port
    )
    await stop.wait()


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(prog="python -m storm.mail_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    asyncio.run(serve(options.port, options.log))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
