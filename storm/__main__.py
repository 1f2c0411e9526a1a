"""`python -m storm`: a storm from the command line; the exit status says whether the sum holds."""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from storm.plan import make_plan
from storm.scenery import REPS
from storm.stage import StormFailed
from storm.storming import storm


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """Storm, print the table; 0 where the sum holds, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m storm",
        description="Sends emails while processes are killed, and looks that every one is accounted"
        " for. Everything runs in a folder of its own on this machine.",
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is chosen at random")
    parser.add_argument("--minutes", type=float, default=20, help="how long it storms")
    parser.add_argument("--people", type=int, default=500, help="each gets three emails")
    parser.add_argument("--kills", type=int, default=30, help="of workers; others die besides")
    parser.add_argument("--database", help="URL of an empty one; default: SQLite in the folder")
    parser.add_argument("--keep", action="store_true", help="keep the folder, also where all holds")
    options = parser.parse_args()
    if options.minutes <= 0 or options.people < 1 or options.kills < 0:
        parser.error("--minutes and --people must be positive, --kills not negative")
    plan = make_plan(
        options.seed,
        timedelta(minutes=options.minutes),
        options.people,
        options.kills,
        reps=len(REPS),
    )
    folder = Path(tempfile.mkdtemp(prefix="drumbeat-storm-"))
    print(
        f"seed {options.seed}: {options.people} people, {options.minutes:g} minutes,"
        f" {len(plan.events)} blows; in {folder}",
        flush=True,
    )
    is_kept = True
    try:
        total = asyncio.run(storm(plan, folder, _say, options.database))
        is_kept = options.keep or not total.holds
    except StormFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        is_kept = options.keep
        return 130
    finally:
        if not is_kept:
            shutil.rmtree(folder)
    for name, found in total.faults.items():
        for what in found[:20]:
            print(f"{name}: {what}")
    print(total.table())
    print(f"seed {options.seed}: the sum {'holds' if total.holds else 'does NOT hold'}")
    if is_kept:
        print(f"kept: {folder}")
    return 0 if total.holds else 1


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Temporal's SDK may crash at the interpreter's own end (sdk-python issue 300).
    os._exit(status)
