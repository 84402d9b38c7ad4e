"""Durations as Kubernetes and Istio write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h)")
DURATION_PATTERN = r"^[-+]?((\d+(\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h))+$"


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time, in whole nanoseconds."""

    nanoseconds: int

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Reads `1h2m3.5s`. Raises ValueError when the text is not a duration of Go's `time.ParseDuration`."""
        if not re.match(DURATION_PATTERN, text):
            raise ValueError(f"{text!r} is not a duration such as 10s, 1.5s, 250ms or 1h30m")
        sign = -1 if text.startswith("-") else 1
        total = 0
        for number, unit in _PART.findall(text):
            whole, _, fraction = number.partition(".")
            scale = _UNITS[unit]
            total += int(whole or 0) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
        return cls(sign * total)

    @property
    def seconds(self) -> float:
        return self.nanoseconds / 10**9

    def __str__(self) -> str:
        return f"{self.seconds:g}s"
