"""How often something may happen."""

from __future__ import annotations


class Allowance:
    """A token bucket: `rate` times a second on average, `burst` times at once. A rate of 0 allows everything."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether it may happen once more. now: seconds, of any steady clock."""
        if not self._rate:
            return True
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
