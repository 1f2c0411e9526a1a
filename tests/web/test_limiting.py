from datetime import timedelta

import pytest

from drumbeat.web import limiting
from drumbeat.web.limiting import FailureLimit, network


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def failures_in(limit: FailureLimit, count: int, address: str = "192.0.2.7") -> list[bool]:
    return [limit.is_exceeded_by(address) for _ in range(count)]


def test_as_many_failures_as_allowed_are_answered_and_the_next_is_not() -> None:
    assert failures_in(FailureLimit(most=3), 5) == [False, False, False, True, True]


def test_failures_are_forgotten_when_the_window_has_slid_past_them() -> None:
    clock = Clock()
    limit = FailureLimit(most=2, span=timedelta(seconds=60), clock=clock)
    assert failures_in(limit, 2) == [False, False]
    clock.now = 59.9
    assert failures_in(limit, 1) == [True]
    clock.now = 60.0
    assert failures_in(limit, 1) == [False]


def test_who_goes_on_failing_stays_refused() -> None:
    clock = Clock()
    limit = FailureLimit(most=2, span=timedelta(seconds=60), clock=clock)
    refused = []
    for second in range(0, 300, 10):
        clock.now = second
        refused.append(limit.is_exceeded_by("192.0.2.7"))
    assert refused[:2] == [False, False]
    assert all(refused[2:])


def test_each_address_is_counted_by_itself() -> None:
    limit = FailureLimit(most=1)
    assert failures_in(limit, 2) == [False, True]
    assert failures_in(limit, 2, "192.0.2.8") == [False, True]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiting, "MOST_ADDRESSES", 10)
    limit = FailureLimit(most=1)
    for number in range(100):
        limit.is_exceeded_by(f"192.0.2.{number}")
    assert len(limit._failures) == 10
    assert limit.is_exceeded_by("192.0.2.99")


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_ipv6_is_counted_by_the_network_of_one_household(address: str, counted: str) -> None:
    assert network(address) == counted
