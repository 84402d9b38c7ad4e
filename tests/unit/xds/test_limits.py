from __future__ import annotations

from xds_server.xds.limits import Allowance


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    allowance = Allowance(rate=2.0, burst=3.0)
    assert [allowance.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert allowance.take(100.5)
    assert not allowance.take(100.6)
    assert [allowance.take(200.0) for _ in range(4)] == [True, True, True, False]


def test_a_rate_of_zero_allows_everything() -> None:
    allowance = Allowance(rate=0.0, burst=0.0)
    assert all(allowance.take(0.0) for _ in range(1000))
