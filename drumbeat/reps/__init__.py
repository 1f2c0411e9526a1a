"""The reps and their mailboxes, from the file that DRUMBEAT_REPS names."""

from drumbeat.reps.model import (
    Limit,
    Mailbox,
    MailboxError,
    Rep,
    Reps,
    Server,
    Tls,
    rep_id,
)
from drumbeat.reps.reading import Fault, RepsReading, read_reps

__all__ = [
    "Fault",
    "Limit",
    "Mailbox",
    "MailboxError",
    "Rep",
    "Reps",
    "RepsReading",
    "Server",
    "Tls",
    "read_reps",
    "rep_id",
]
