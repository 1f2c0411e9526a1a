"""How often one address may fail: a window that slides."""

import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import timedelta

MOST_ADDRESSES = 10_000
"""Addresses that are remembered; beyond that the one that failed longest ago is forgotten."""


class FailureLimit:
    """Counts an address's failures of late.

    It is kept in memory: every process counts for itself, and a restart forgets.
    """

    def __init__(
        self,
        most: int = 20,
        span: timedelta = timedelta(minutes=1),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the limit.

        Args:
            most: Failures within any span that are still answered.
            span: The length of the window.
            clock: Seconds that only ever grow.
        """
        self.most = most
        self.span = span
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def is_exceeded_by(self, address: str) -> bool:
        """Count one more failure of an address; whether it is one too many."""
        now = self._clock()
        failures = self._failures.setdefault(address, deque(maxlen=self.most + 1))
        self._failures.move_to_end(address)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        failures.append(now)
        while failures[0] <= now - self.span.total_seconds():
            failures.popleft()
        return len(failures) > self.most


def network(address: str) -> str:
    """What counts as one address: of IPv6 the /64, which one household gets whole.

    >>> network("2001:db8:1:2:3:4:5:6")
    '2001:db8:1:2::/64'
    >>> network("::ffff:192.0.2.1")
    '192.0.2.1'
    """
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(read, ipaddress.IPv4Address):
        return address
    if read.ipv4_mapped is not None:
        return str(read.ipv4_mapped)
    return str(ipaddress.ip_network((int(read), 64), strict=False))
