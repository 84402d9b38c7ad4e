"""What the user may have meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from xds_server.incremental import Fixed, partitioned
from xds_server.memo import Memo

_ENDS = 2  # letters
_FAR = 4  # letters

Spelling = Fixed[str, Fixed[str, str]]
"""Hosts by how they begin, and by how their first label ends: few who mistype one get both wrong."""


def spelling(hosts: Fixed[str, Any], memo: Memo) -> Spelling:
    return partitioned(memo, "spelling", _spelled, hosts)


def _spelled(host: str, _: object) -> Iterator[tuple[str, str, str]]:
    for end in _ends(host):
        yield end, host, host


def _ends(host: str) -> tuple[str, str]:
    label = host.partition(".")[0]
    return f"{label[:_ENDS]}-", f"-{label[-_ENDS:]}"


def similar_host(host: str, known: Mapping[str, Mapping[str, str]]) -> str:
    """The most similar of the known hosts, as `spelling` has them; empty when none is. Those that have the same first
    label or the same rest are considered."""
    first, dot, rest = host.partition(".")
    spelled_alike = {other for end in _ends(host) for other in known.get(end, {})}
    return _closest(host, (h for h in spelled_alike if h.endswith(dot + rest) or h.startswith(first + dot)))


def _closest(word: str, known: Iterable[str]) -> str:
    near = sorted(other for other in known if abs(len(other) - len(word)) <= _FAR)
    found = get_close_matches(word, near, n=1, cutoff=0.8)
    return found[0] if found else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question, or nothing."""
    found = _closest(word, known)
    return f"did you mean {found}?" if found else ""
