"""What a check covered, in numbers."""

from __future__ import annotations

from collections import Counter

import msgspec

from xds_server.diagnostics import Level
from xds_server.findings import Finding


class Summary(msgspec.Struct, frozen=True):
    """What was read, how long the whole took, and what the objects came from: `files`, `cluster NAME`."""

    files: int
    objects: int
    seconds: float
    source: str = "files"


def summary_line(findings: list[Finding], summary: Summary) -> str:
    """`1 error, 0 warnings in 7 files, 23 objects (0.08 s). Source: files.` Infos are counted only if there are any."""
    levels = Counter(finding.diagnostic.level for finding in findings)
    counts = [count(levels[Level.ERROR], "error"), count(levels[Level.WARNING], "warning")]
    if levels[Level.INFO]:
        counts.append(count(levels[Level.INFO], "info"))
    read = f"{count(summary.files, 'file')}, {count(summary.objects, 'object')}"
    return f"{', '.join(counts)} in {read} ({summary.seconds:.2f} s). Source: {summary.source}."


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
