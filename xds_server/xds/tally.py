"""What is counted on the hot path: plain numbers, which cost nothing; `xds.metrics` shows them to Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of a histogram's buckets, in seconds."""


class Histogram:
    """How long things took."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class Tally:
    """Since the server started; by type URL where it says "of each type"."""

    def __init__(self) -> None:
        self.pushes: Counter[str] = Counter()  # responses of each type
        self.bytes: Counter[str] = Counter()  # in the responses of each type
        self.nacks: Counter[str] = Counter()  # refused responses of each type
        self.stale: Counter[str] = Counter()  # requests of each type that answered nothing that waits for an answer
        self.answers: dict[str, Histogram] = {}  # of each type: from a response to its acknowledgement
        self.convergence = Histogram()  # from a change being offered to a proxy having accepted all of it
        self.translation = Histogram()  # of one group
        self.refused_streams: Counter[str] = Counter()  # by gRPC status

    def answered(self, type_url: str, seconds: float) -> None:
        histogram = self.answers.get(type_url)
        if histogram is None:
            histogram = self.answers[type_url] = Histogram()
        histogram.observe(seconds)
