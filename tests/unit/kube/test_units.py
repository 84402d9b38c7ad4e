from __future__ import annotations

import pytest

from xds_server.kube.units import Duration, PositiveDuration

GOOD = {
    "0": 0,
    "0s": 0,
    "10s": 10 * 10**9,
    "1.5s": 15 * 10**8,
    "1.s": 10**9,
    ".5s": 5 * 10**8,
    "250ms": 250 * 10**6,
    "1h2m3s": 3723 * 10**9,
    "5us": 5_000,
    "5µs": 5_000,
    "7ns": 7,
    "-1s": -(10**9),
    "+1s": 10**9,
}


@pytest.mark.parametrize(("text", "nanoseconds"), GOOD.items())
def test_a_duration_is_read_as_go_reads_it(text: str, nanoseconds: int) -> None:
    assert Duration.parse(text) == Duration(nanoseconds)


@pytest.mark.parametrize("text", ["", "10", "s", "10 s", "10sec", "1d", "1s\n", "1e3s", "٣s", "3000000h"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|is longer than"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["0s", "-1s", "999us"])
def test_a_positive_duration_is_at_least_a_millisecond(text: str) -> None:
    with pytest.raises(ValueError, match="shorter than 1ms"):
        PositiveDuration.parse(text)


def test_durations_compare_by_their_length() -> None:
    assert PositiveDuration.parse("1s") == Duration.parse("1000ms")
    assert hash(PositiveDuration.parse("1s")) == hash(Duration.parse("1000ms"))
    assert Duration.parse("1s") < Duration.parse("1m")
    assert Duration.parse("1s") != 10**9
    assert str(Duration.parse("1500ms")) == "1.5s"
    assert Duration.parse("250ms").seconds == 0.25
