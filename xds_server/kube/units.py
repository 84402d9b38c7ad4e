"""Scalars as Kubernetes and Istio write them: durations, and numbers with their ranges."""

from __future__ import annotations

import functools
import re
from typing import Annotated, Final

from msgspec import Meta

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, Meta(ge=0)]  # msgspec has no bounds beyond int64
WholePercent = Annotated[int, Meta(ge=0, le=100)]
Percent = Annotated[float, Meta(ge=0, le=100)]
NonEmpty = Annotated[str, Meta(min_length=1)]

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(r"[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h))+")
_LONGEST = 2**63 - 1  # Go's time.Duration is an int64 of nanoseconds


@functools.total_ordering
class Duration:
    """A span of time, in whole nanoseconds. No dataclass: msgspec would read one as an object with fields."""

    __slots__ = ("nanoseconds",)

    def __init__(self, nanoseconds: int) -> None:
        self.nanoseconds: Final = nanoseconds

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Reads `1h2m3.5s`. Raises ValueError when the text is not a duration of Go's `time.ParseDuration`."""
        if text in ("0", "+0", "-0"):
            return cls(0)
        if not _DURATION.fullmatch(text):
            raise ValueError(f"{text!r} is not a duration such as 10s, 1.5s, 250ms or 1h30m")
        sign = -1 if text.startswith("-") else 1
        total = 0
        for number, unit in _PART.findall(text):
            whole, _, fraction = number.partition(".")
            scale = _UNITS[unit]
            total += int(whole or 0) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
        if total > _LONGEST:
            raise ValueError(f"{text!r} is longer than 292 years")
        return cls(sign * total)

    @property
    def seconds(self) -> float:
        return self.nanoseconds / 10**9

    def __eq__(self, other: object) -> bool:
        return self.nanoseconds == other.nanoseconds if isinstance(other, Duration) else NotImplemented

    def __lt__(self, other: Duration) -> bool:
        return self.nanoseconds < other.nanoseconds

    def __hash__(self) -> int:
        return hash(self.nanoseconds)

    def __str__(self) -> str:
        return f"{self.seconds:g}s"

    def __repr__(self) -> str:
        return f"Duration({self.nanoseconds})"


class PositiveDuration(Duration):
    """A duration of an Istio field whose CRD has the rule `duration(self) >= duration('1ms')`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Duration:
        duration = super().parse(text)
        if duration.nanoseconds < 1_000_000:
            raise ValueError(f"{text!r} is shorter than 1ms")
        return duration
