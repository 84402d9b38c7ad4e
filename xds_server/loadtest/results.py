"""What is measured. All times are given, in seconds of one clock."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import msgspec

from xds_server.loadtest.envoy import SHORT
from xds_server.loadtest.variants import Response

_SHORTEST = 0.005
"""Seconds of bursts that say how busy the generator is; less is too short to measure."""


class Usage(msgspec.Struct, frozen=True):
    """The state of a test at a moment. cpu: seconds of CPU that the generator has used; waited: seconds that it could
    have worked, but others had the CPU; server_cpu: what the server has used, None where it is not known."""

    at: float
    cpu: float
    waited: float
    server_cpu: float | None
    responses: int
    size: int


class Stalled(msgspec.Struct, frozen=True):
    """What waited for the streams that did not read. closed: how many of them the server had ended meanwhile.
    seconds: until they had read what waited."""

    streams: int
    closed: int
    responses: int
    bytes: int
    seconds: float


class Measured(msgspec.Struct):
    """The moments of a test, None where it did not get so far.

    missing: of each stream that is not configured, what it waits for. pulling: seconds that each trigger took.
    bursts: of each round, when its first response came, and when every stream had one.
    """

    began: Usage | None = None
    configured: Usage | None = None
    watched: Usage | None = None
    ended: Usage | None = None
    interrupted: bool = False
    missing: list[list[str]] = []
    pulling: list[float] = []
    bursts: list[tuple[Usage, Usage]] = []
    stalled: Stalled | None = None
    trigger_error: str = ""


class Distribution(msgspec.Struct, frozen=True):
    """Milliseconds. last: the largest."""

    count: int
    p50: float
    p90: float
    p99: float
    last: float


class Cpu(msgspec.Struct, frozen=True):
    """us_per_response: microseconds of CPU for a response and its acknowledgement, None where there was no response.
    busy: share of one core."""

    us_per_response: float | None
    busy: float


class Load(msgspec.Struct, frozen=True):
    """What went over the wire in a part of the test. generator: its share of a core counts while it had work;
    generator_waiting: the share of that time in which it waited for a core."""

    seconds: float
    responses: int
    bytes: int
    responses_per_second: float
    bytes_per_second: float
    generator: Cpu
    generator_waiting: float
    server: Cpu | None


class Round:
    """What a change brings. waiting: streams that have got nothing yet."""

    def __init__(self, began: float, streams: Collection[int]) -> None:
        self.began = began
        self.waiting = set(streams)
        self.first = array("d")
        self.last: dict[int, float] = {}


class Spread:
    """When one version reached the streams."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.delays = array("d")


class Results:
    """Grows while the test runs. changed: called when all are configured or have failed, and when the first and the
    last response of a round have come."""

    def __init__(self, streams: int, changed: Callable[[], None] = lambda: None) -> None:
        self.streams = streams
        self.began: dict[int, float] = {}
        self.configured: dict[int, float] = {}
        self.responses = self.size = 0
        self.types: Counter[str] = Counter()
        self.errors: dict[str, Counter[int]] = {}
        self.everyone_failed = False  # no stream ever got an answer, and each has tried
        self.rounds: list[Round] = []
        self.spreads: dict[Any, Spread] = {}
        self._changed = changed
        self._watching = False
        self._failed: set[int] = set()

    def start(self, stream: int, now: float) -> None:
        """A stream begins to connect; a later attempt does not count as a new one."""
        self.began.setdefault(stream, now)

    def complete(self, stream: int, now: float) -> None:
        """A stream is configured."""
        self.configured.setdefault(stream, now)
        if len(self.configured) == self.streams:
            self._changed()

    def received(self, stream: int, response: Response, size: int, now: float) -> None:
        """A response has come, and its acknowledgement goes out. size: bytes of the message."""
        self.responses += 1
        self.size += size
        self.types[response.type_url] += 1
        if self.rounds:
            current = self.rounds[-1]
            if not current.last:
                self._changed()
            current.last[stream] = now
            if stream in current.waiting:
                current.first.append(now - current.began)
                self._answered(current, stream)
        elif self._watching:
            key = response.type_url, response.version or id(response)
            spread = self.spreads.get(key)
            if spread is None:
                spread = self.spreads[key] = Spread(now)
            spread.delays.append(now - spread.began)

    def failed(self, stream: int, error: str) -> None:
        """A connection could not be made, or a stream has ended."""
        self.errors.setdefault(error, Counter())[stream] += 1
        self._failed.add(stream)
        if not self.responses and len(self._failed) == self.streams:
            self.everyone_failed = True
            self._changed()
        if self.rounds:
            self._answered(self.rounds[-1], stream)

    def begin_round(self, now: float, streams: Collection[int]) -> Round:
        """What comes from now on belongs to a new round, of these streams."""
        self.rounds.append(Round(now, streams))
        return self.rounds[-1]

    def watch(self) -> None:
        """From now on versions are followed."""
        self._watching = True

    def _answered(self, current: Round, stream: int) -> None:
        if stream in current.waiting:
            current.waiting.remove(stream)
            if not current.waiting:
                self._changed()

    def connecting(self) -> Distribution | None:
        """From connecting to configured, of each stream that got there."""
        return distribution(at - self.began[stream] for stream, at in self.configured.items())

    def to_first(self) -> Distribution | None:
        """From the trigger to the first response that a stream got after it."""
        return distribution(delay for each in self.rounds for delay in each.first)

    def to_last(self) -> Distribution | None:
        """From the trigger to the last response that a stream got before the next trigger."""
        return distribution(at - each.began for each in self.rounds for at in each.last.values())

    def spread(self) -> Distribution | None:
        """From the first stream that got a version to each that got it."""
        return distribution(delay for spread in self.spreads.values() for delay in spread.delays)

    def by_type(self) -> dict[str, int]:
        return {SHORT.get(type_url, type_url): count for type_url, count in sorted(self.types.items())}


def distribution(seconds: Iterable[float]) -> Distribution | None:
    """By nearest rank; None of nothing."""
    values = sorted(seconds)
    if not values:
        return None
    p50, p90, p99 = (values[math.ceil(len(values) * percent / 100) - 1] * 1e3 for percent in (50, 90, 99))
    return Distribution(len(values), p50, p90, p99, values[-1] * 1e3)


def load(before: Usage | None, after: Usage | None, bursts: Sequence[tuple[Usage, Usage]] = ()) -> Load | None:
    """What happened between two moments, None where there was no such moment. bursts: when the generator had work;
    without them, always."""
    if before is None or after is None:
        return None
    seconds = _seconds([(before, after)])
    responses, size = after.responses - before.responses, after.size - before.size
    working = bursts if bursts and _seconds(bursts) > _SHORTEST else [(before, after)]
    busy, waiting = sum(b.cpu - a.cpu for a, b in working), sum(b.waited - a.waited for a, b in working)
    server = None
    if before.server_cpu is not None and after.server_cpu is not None:
        used = after.server_cpu - before.server_cpu
        server = Cpu(_of_each(used, responses), used / seconds)
    return Load(
        seconds=seconds,
        responses=responses,
        bytes=size,
        responses_per_second=responses / seconds,
        bytes_per_second=size / seconds,
        generator=Cpu(_of_each(after.cpu - before.cpu, responses), busy / _seconds(working)),
        generator_waiting=waiting / _seconds(working),
        server=server,
    )


def _seconds(parts: Sequence[tuple[Usage, Usage]]) -> float:
    return max(sum(after.at - before.at for before, after in parts), 1e-9)


def _of_each(used: float, responses: int) -> float | None:
    return used / responses * 1e6 if responses else None
