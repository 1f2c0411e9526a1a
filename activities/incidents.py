"""Keeps personal data out of failures: what an activity raises reaches Temporal as type and number.

An exception's own words may hold an address or a body, and failures are kept in histories and shown
in the Temporal UI. The worker's log has the place where it was raised, under the same number.
"""

import logging
import secrets
import traceback
from typing import Any

from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

_LOG = logging.getLogger("drumbeat.incidents")


class _Disarming(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # whatever it returns
        """Run an activity; an error of it is replaced, cancellation is not."""
        try:
            return await super().execute_activity(input)
        except ApplicationError as error:
            # Raised on purpose, in our own words; what lies behind it would travel with it.
            raise error from None
        except Exception as error:
            number = secrets.token_hex(4)
            kind = type(error).__name__
            where = "".join(traceback.format_tb(error.__traceback__)[-8:])
            _LOG.error("incident %s: %s\n%s", number, kind, where)
            raise ApplicationError(f"{kind}, incident {number}", type=kind) from None


class IncidentInterceptor(Interceptor):
    """Replaces what activities raise by its type and an incident number."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Stand around one activity."""
        return _Disarming(next)
