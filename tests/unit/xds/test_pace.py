"""When changes are taken up (section 4 of the delivery's promises: flow)."""

from __future__ import annotations

from typing import Any

from xds_server.incremental import fixed
from xds_server.kube.meta import Object
from xds_server.kube.snapshot import Snapshot
from xds_server.pace import LONGEST, QUIET, Pace, with_endpoints


class EndpointSlice(Object, frozen=True, eq=False, gc=False):
    KIND = "EndpointSlice"


class VirtualService(Object, frozen=True, eq=False, gc=False):
    KIND = "VirtualService"


def snapshot(number: int, routes: object = None, endpoints: object = None) -> Snapshot:
    found: dict[type[Object], Any] = {VirtualService: routes, EndpointSlice: endpoints}
    return Snapshot(number, {kind: fixed({("a", "b"): value} if value else {}) for kind, value in found.items()})


def test_nothing_is_taken_before_the_sources_were_read() -> None:
    pace = Pace()
    pace.arrive(Snapshot(), 1.0)
    assert pace.take(100.0) is None
    assert pace.remaining(100.0) is None


def test_the_first_change_after_quiet_goes_at_once() -> None:
    pace = Pace()
    first = snapshot(1)
    pace.arrive(first, 1.0)
    assert pace.take(1.0) is first
    second = snapshot(2, routes="new")
    pace.arrive(second, 2.0)
    assert pace.remaining(2.0) == 0
    assert pace.take(2.0) is second


def test_a_storm_is_batched_until_it_is_quiet() -> None:
    pace = Pace()
    pace.arrive(snapshot(1), 1.0)
    pace.take(1.0)
    for i in range(4):
        pace.arrive(snapshot(2 + i, routes=str(i)), 1.01 + i * 0.05)
        assert pace.take(1.01 + i * 0.05) is None
    remaining = pace.remaining(1.16)
    assert remaining is not None
    assert abs(remaining - QUIET) < 1e-9
    taken = pace.take(1.161 + QUIET)
    assert taken is not None
    assert taken.number == 5


def test_a_storm_that_never_ends_waits_for_half_a_second_at_most() -> None:
    pace = Pace()
    pace.arrive(snapshot(1), 0.0)
    pace.take(0.0)
    at, number = 0.01, 2
    while pace.take(at) is None:
        pace.arrive(snapshot(number, routes=str(number)), at)
        number += 1
        at += 0.05
    assert at <= 0.01 + LONGEST + 0.05


def test_endpoints_do_not_wait_for_a_storm_of_other_changes() -> None:
    pace = Pace()
    pace.arrive(snapshot(1, "old", "e1"), 0.0)
    pace.take(0.0)
    pace.arrive(snapshot(2, "new", "e1"), 0.01)
    assert pace.take(0.01) is None
    newest = snapshot(3, "new", "e2")
    pace.arrive(newest, 0.02)
    assert pace.remaining(0.02) == 0
    taken = pace.take(0.02)
    assert taken is not None
    assert taken.of(VirtualService) == {("a", "b"): "old"}
    assert taken.of(EndpointSlice) == {("a", "b"): "e2"}
    assert pace.take(0.02) is None
    assert pace.take(0.02 + QUIET) is newest


def test_a_change_of_endpoints_alone_is_taken_as_a_whole() -> None:
    pace = Pace()
    old = snapshot(1, "old", "e1")
    pace.arrive(old, 0.0)
    pace.take(0.0)
    pace.arrive(snapshot(2, "old", "e2"), 0.01)
    assert pace.take(0.01) is not None
    assert pace.remaining(0.01) is None


def test_equal_endpoints_leave_the_snapshot_alone() -> None:
    old = snapshot(1, "old", "e1")
    assert with_endpoints(old, snapshot(2, "new", "e1")) is old
