"""What the user may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_FAR = 4  # letters; looking at every host of a large mesh would take long


def closest(word: str, known: Iterable[str]) -> str:
    """The most similar of the known words; empty when none is. Of hosts, those that have the same first label or the
    same rest are considered."""
    first, dot, rest = word.partition(".")
    near = sorted(
        other
        for other in known
        if abs(len(other) - len(word)) <= _FAR and (other.endswith(rest) or other.startswith(first + dot))
    )
    found = get_close_matches(word, near, n=1, cutoff=0.8)
    return found[0] if found else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question, or nothing."""
    found = closest(word, known)
    return f"did you mean {found}?" if found else ""
