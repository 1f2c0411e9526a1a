"""Brings the database that the settings name up to date: `python -m drumbeat.store.migrate`.

It may be repeated, and run by several machines at once.
"""

import asyncio
import sys

from drumbeat.settings import Settings
from drumbeat.store.engine import StoreError, migrate


def main() -> int:
    """Migrate; the exit status."""
    try:
        asyncio.run(migrate(Settings().database))
    except StoreError as error:
        print(error, file=sys.stderr)
        return 1
    print("the database is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
