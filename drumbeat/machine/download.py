"""Fetches the `temporal` program by the download that the Python SDK offers.

The SDK has no call that only downloads: it starts the server too, which is ended at once. A program
of its own, `python -m drumbeat.machine.download FOLDER`, because it may hang on a closed network,
and because a process that used the SDK may crash at its end.
"""

import asyncio
import os
import sys
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

VERSION = "v1.9.1"
"""Of the `temporal` program."""


async def main(folder: str) -> None:
    """Leave the program in the folder."""
    environment = await WorkflowEnvironment.start_local(
        download_dest_dir=folder,
        dev_server_download_version=VERSION,
        dev_server_log_level="error",
    )
    await environment.shutdown()


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(main(sys.argv[1]))
    except RuntimeError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
