"""Every point at which a process may die between "due" and "recorded", in the order of time."""

from enum import StrEnum


class Promise(StrEnum):
    """What Drumbeat makes of a death."""

    SENT_BY_THE_NEXT = "nothing was handed over: the next attempt sends"
    IN_DOUBT = "nobody knows: a person or the mailbox says what became of it"
    KNOWN = "the answer is recorded: nothing is sent again"


class Death(StrEnum):
    """A point of the send path. The process is killed by SIGKILL when it is reached."""

    BEFORE_INTENT = "before the intent"
    IN_INTENT = "in the intent's transaction"
    AFTER_INTENT = "after the intent"
    AT_CONNECT = "when the server is connected to"
    AT_MAIL = "at MAIL"
    AT_RCPT = "at RCPT"
    BEFORE_MARK = "before the mark"
    IN_MARK = "in the mark's transaction"
    AFTER_MARK = "after the mark"
    AT_DATA = "at DATA"
    AT_CONTENT = "when the server has the content"
    AT_ACCEPTANCE = "when the server has accepted it, before its 250"
    AFTER_250 = "after the server's 250"
    IN_RECORD = "in the record's transaction"
    AFTER_RECORD = "after the record"
    BEFORE_HEARD = "before the workflow hears of it"
    WHEN_HEARD = "when the workflow has heard, before it has gone on"

    @property
    def promise(self) -> Promise:
        """What follows from it."""
        if self in _BEFORE_MARK:
            return Promise.SENT_BY_THE_NEXT
        return Promise.KNOWN if self in _RECORDED else Promise.IN_DOUBT

    @property
    def copies(self) -> int:
        """How many the mail server has accepted when the process is dead."""
        return 1 if self in _ACCEPTED else 0


_ORDER = list(Death)
_BEFORE_MARK = frozenset(_ORDER[: _ORDER.index(Death.AFTER_MARK)])
_RECORDED = frozenset(_ORDER[_ORDER.index(Death.AFTER_RECORD) :])
_ACCEPTED = frozenset(_ORDER[_ORDER.index(Death.AT_ACCEPTANCE) :])
