"""Keeps personal data out of failures: what an activity raises reaches Temporal as type and number.

An exception's own words may hold an address or a body, and failures are kept in histories and shown
in the Temporal UI. The worker's log has the place where it was raised, under the same number. What
goes wrong for a thousand emails at the same place is one incident, and said once.
"""

import logging
import secrets
import time
import traceback
from collections import OrderedDict
from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from drumbeat.store.errors import StoreError

_LOG = logging.getLogger("drumbeat.incidents")

SAID_AGAIN_AFTER = timedelta(minutes=10)
"""So long one incident is not repeated in the log, however often it happens."""
REMEMBERED = 200
"""Places; of more than so many the oldest are said anew."""


class _Incident:
    def __init__(self, now: float) -> None:
        self.number = secrets.token_hex(4)
        self.said_at = now
        self.unsaid = 0
        """How often it has happened since it was said."""


class _Incidents:
    """What went wrong lately, by its place, and whether the database answers."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Incident] = OrderedDict()
        self._has_no_database = False

    def number_of(self, error: Exception) -> str:
        """The number of the incident that an error belongs to; said in the log if it is new."""
        kind = type(error).__name__
        where = "".join(traceback.format_tb(error.__traceback__)[-8:])
        now = time.monotonic()
        incident = self._known.get(kind + where)
        if incident is None:
            incident = self._known[kind + where] = _Incident(now)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            _LOG.error("incident %s: %s\n%s", incident.number, kind, where)
        elif now - incident.said_at < SAID_AGAIN_AFTER.total_seconds():
            incident.unsaid += 1
        else:
            _LOG.error("incident %s: %s, %d times more", incident.number, kind, incident.unsaid + 1)
            incident.said_at, incident.unsaid = now, 0
        return incident.number

    def database_failed(self, error: StoreError) -> None:
        """Every activity that needs it fails now: told when it begins, and when it is over."""
        if not self._has_no_database:
            self._has_no_database = True
            _LOG.error("%s; whatever needs it waits", error)

    def succeeded(self) -> None:
        """An activity has succeeded: each needs the database."""
        if self._has_no_database:
            self._has_no_database = False
            _LOG.info("the database answers again")


class _Disarming(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, incidents: _Incidents) -> None:
        super().__init__(next)
        self._incidents = incidents

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # whatever it returns
        """Run an activity; an error of it is replaced, cancellation is not."""
        try:
            result = await super().execute_activity(input)
        except ApplicationError as error:
            # Raised on purpose, in our own words; what lies behind it would travel with it.
            raise error from None
        except StoreError as error:
            self._incidents.database_failed(error)
            kind = type(error).__name__
            raise _said(kind, kind) from None
        except Exception as error:
            kind = type(error).__name__
            raise _said(f"{kind}, incident {self._incidents.number_of(error)}", kind) from None
        self._incidents.succeeded()
        return result


def _said(text: str, kind: str) -> ApplicationError:
    # Benign: the log has it already, and the SDK would add lines for every attempt.
    return ApplicationError(text, type=kind, category=ApplicationErrorCategory.BENIGN)


class IncidentInterceptor(Interceptor):
    """Replaces what activities raise by its type and an incident number."""

    def __init__(self) -> None:
        self._incidents = _Incidents()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Stand around one activity."""
        return _Disarming(next, self._incidents)
