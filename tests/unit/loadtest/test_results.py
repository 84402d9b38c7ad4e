"""What is measured, and how it is told."""

from __future__ import annotations

import json

import msgspec
import pytest

from xds_server.envoy.resource import CLUSTER, ENDPOINT
from xds_server.loadtest.report import Report, report, text
from xds_server.loadtest.results import Distribution, Measured, Results, Stalled, Usage, distribution, load
from xds_server.loadtest.variants import Response

CDS, EDS = Response(CLUSTER, "1", {}), Response(ENDPOINT, "2", {})
NEXT = Response(ENDPOINT, "3", {})


def test_a_distribution_is_in_milliseconds() -> None:
    assert distribution(number / 1000 for number in range(1, 101)) == Distribution(100, 50.0, 90.0, 99.0, 100.0)
    assert distribution([0.5]) == Distribution(1, 500.0, 500.0, 500.0, 500.0)
    assert distribution([]) is None


def test_the_time_to_be_configured_begins_with_the_first_attempt() -> None:
    results = Results(2)
    results.start(0, 1.0)
    results.start(0, 5.0)
    results.start(1, 2.0)
    results.complete(0, 9.0)
    results.complete(0, 11.0)
    results.complete(1, 3.0)
    assert results.connecting() == Distribution(2, 1000.0, 8000.0, 8000.0, 8000.0)


def test_a_round_takes_the_first_and_the_last_response_of_each_stream() -> None:
    calls: list[int] = []
    results = Results(3, lambda: calls.append(1))
    current = results.begin_round(10.0, [0, 1])
    results.received(0, CDS, 5, 10.1)
    results.received(2, CDS, 5, 10.15)  # is not of the round: it stalled, or connected later
    assert len(calls) == 1  # the first response
    results.received(0, EDS, 5, 10.5)
    results.received(1, EDS, 5, 10.2)
    assert len(calls) == 2  # all have one
    assert not current.waiting
    first, last = results.to_first(), results.to_last()
    assert first
    assert last
    assert (first.count, first.last) == (2, pytest.approx(200.0))
    assert (last.count, last.last) == (3, pytest.approx(500.0))


def test_a_round_does_not_wait_for_a_stream_that_is_lost() -> None:
    calls: list[int] = []
    results = Results(2, lambda: calls.append(1))
    current = results.begin_round(10.0, [0, 1])
    results.received(0, EDS, 5, 10.1)
    results.failed(1, "UNAVAILABLE")
    assert not current.waiting
    assert len(calls) == 2


def test_a_version_is_followed_from_its_first_stream_to_the_others() -> None:
    results = Results(3)
    results.received(0, EDS, 5, 1.0)  # before it is watched
    results.watch()
    for stream, at in enumerate((2.0, 2.1, 2.4)):
        results.received(stream, EDS, 5, at)
    results.received(0, NEXT, 5, 3.0)
    spread = results.spread()
    assert spread
    assert (len(results.spreads), spread.count, spread.last) == (2, 4, pytest.approx(400.0))


def test_everyone_failed_only_when_no_stream_ever_got_an_answer() -> None:
    results = Results(2)
    results.failed(0, "refused")
    results.failed(0, "refused")
    assert not results.everyone_failed
    results.failed(1, "refused")
    assert results.everyone_failed
    results = Results(1)
    results.received(0, CDS, 5, 1.0)
    results.failed(0, "lost")
    assert not results.everyone_failed


def test_the_load_is_the_difference_of_two_moments() -> None:
    made = load(Usage(1.0, 0.5, 0.0, 2.0, 100, 1000), Usage(3.0, 0.7, 1.0, None, 300, 5000))
    assert made
    assert (made.responses, made.bytes, made.responses_per_second, made.bytes_per_second) == (200, 4000, 100.0, 2000.0)
    assert made.generator.us_per_response == pytest.approx(1000.0)
    assert made.generator.busy == pytest.approx(0.1)
    assert made.server is None
    assert made.generator_waiting == pytest.approx(0.5)
    burst = Usage(1.0, 0.5, 0.0, 2.0, 0, 0), Usage(1.1, 0.59, 0.005, 2.0, 0, 0)
    quiet = load(Usage(1.0, 0.5, 0.0, 2.0, 0, 0), Usage(3.0, 0.5, 0.0, 3.0, 0, 0), [burst])
    assert quiet
    assert quiet.server
    assert (quiet.generator.us_per_response, quiet.server.busy) == (None, 0.5)
    assert (quiet.generator.busy, quiet.generator_waiting) == (pytest.approx(0.9), pytest.approx(0.05))


def finished() -> tuple[Results, Measured]:
    results = Results(2)
    for stream in (0, 1):
        results.start(stream, 1.0)
        results.received(stream, CDS, 1_000_000, 1.5)
        results.complete(stream, 1.5)
    results.begin_round(3.0, [0, 1])
    results.received(0, EDS, 500, 3.010)
    results.received(1, EDS, 500, 3.020)
    measured = Measured(
        began=Usage(1.0, 0.0, 0.0, 0.0, 0, 0),
        configured=Usage(2.0, 0.0002, 0.0, 0.4, 2, 2_000_000),
        watched=Usage(4.0, 0.0003, 0.0, 0.5, 4, 2_001_000),
        ended=Usage(5.0, 0.0003, 0.0, 0.5, 4, 2_001_000),
        pulling=[0.002],
        bursts=[(Usage(3.01, 0.1, 0.0, 0.0, 2, 0), Usage(3.02, 0.109, 0.0005, 0.0, 4, 0))],
        stalled=Stalled(1, 1, 3, 1_500_000, 0.25),
    )
    return results, measured


def made(results: Results, measured: Measured) -> Report:
    return report(results, measured, "xds:15010", "delta", True, ["sidecar", "gateway"])


TABLE = """\
xds:15010: 2 streams, delta, TLS, sidecar; gateway

                                           p50         p90         p99        last
connect to configured                 500.0 ms    500.0 ms    500.0 ms    500.0 ms
trigger to first response              10.0 ms     20.0 ms     20.0 ms     20.0 ms
trigger to last response               10.0 ms     20.0 ms     20.0 ms     20.0 ms
  of that, the trigger itself           2.0 ms      2.0 ms      2.0 ms      2.0 ms

             responses   a second         MB       MB/s client CPU       busy server CPU       busy
connecting           2          2        2.0        2.0     100 us         0% 200,000 us        40%
watching             2          1        0.0        0.0      50 us        90%  50,000 us         5%

configured  2 of 2 streams, all after 500 ms
accepted    4 responses: CDS 2, EDS 2
rounds      1, each reached every stream
stalled     1 stream; in the end they read 3 responses, 1.5 MB, that waited for them, in 250 ms; the server had closed 1
client      used 90% of a core at most, and waited for one 5% of the time: times may be its own: upper bounds
errors      none
"""


def test_the_table_has_all_that_was_measured() -> None:
    assert text(made(*finished())) == TABLE


def test_json_has_the_same() -> None:
    written = json.loads(msgspec.json.encode(made(*finished())))
    assert written["rounds"]["to_first_response"]["last"] == pytest.approx(20.0)
    assert written["watched"]["generator"]["busy"] == pytest.approx(0.9)
    assert written["types"] == {"CDS": 2, "EDS": 2}
    assert written["stalled"] == {"streams": 1, "closed": 1, "responses": 3, "bytes": 1_500_000, "seconds": 0.25}


def test_errors_say_what_to_do() -> None:
    results, measured = finished()
    results.failed(1, "UNIMPLEMENTED: ")
    results.failed(1, "UNIMPLEMENTED: ")
    measured.trigger_error = "the trigger ended with exit code 3: no"
    measured.missing = [["LDS"], ["CDS", "LDS"]]
    measured.interrupted = True
    lines = text(made(results, measured)).splitlines()
    assert lines[1] == "interrupted: this is what was measured so far"
    assert "waiting     2 streams, one of them for LDS" in lines
    assert lines[-3:] == [
        "error       the trigger ended with exit code 3: no",
        "error       2 times, 1 stream: UNIMPLEMENTED: ",
        "            the control plane does not serve this variant of ADS; try the other --variant",
    ]
    assert not made(results, measured).flawless()


def test_a_test_that_was_interrupted_at_once_is_told_too() -> None:
    results = Results(3)
    ended = Measured(began=Usage(1.0, 0.0, 0.0, None, 0, 0), ended=Usage(1.1, 0.0, 0.0, None, 0, 0), interrupted=True)
    assert "configured  0 of 3 streams" in text(made(results, ended))
