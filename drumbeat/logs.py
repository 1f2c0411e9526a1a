"""How the processes of Drumbeat log: lines for people, or JSON for machines."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from drumbeat.settings import Settings

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_FIELDS = {"asctime": "time", "levelname": "level", "name": "logger"}


def start_logging(settings: Settings) -> None:
    """Log to standard error, from INFO on, as `DRUMBEAT_LOG_FORMAT` says: `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter(_TEXT, rename_fields=_FIELDS))
    else:
        handler.setFormatter(logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
