"""One JSON file as plain data, with the same strictness and the same result as a YAML document."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from xds_server.sources import tree
from xds_server.sources.tree import MAX_DEPTH, MAX_PROBLEMS, Problem, Tree

_SURROGATES = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def parse(text: str) -> Tree:
    """Reads one document. Never raises for what the user wrote."""
    if not text.strip():
        return Tree(None)
    duplicates: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            duplicates.extend(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        return value

    try:
        value = json.loads(
            text, object_pairs_hook=mapping, parse_int=_integer, parse_float=_float, parse_constant=_refused
        )
    except json.JSONDecodeError as error:
        return Tree(None, problems=(Problem(error.pos, f"this is not JSON: {error.msg}"),))
    except RecursionError:
        return Tree(None, problems=(_TOO_DEEP,))
    except ValueError as error:
        return Tree(None, problems=(Problem(0, str(error)),))
    if _depth_exceeds(value, MAX_DEPTH):
        return Tree(None, problems=(_TOO_DEEP,))
    # JSON is YAML but for a few corners, and libyaml knows the places. Where it fails, the first character must do.
    places = tree.parse(as_yaml(text))
    problems: tuple[Problem, ...] = ()
    if duplicates:
        problems = tuple(problem for problem in places.problems if problem.key is not None) or tuple(
            Problem(0, "", key=key) for key in duplicates[:MAX_PROBLEMS]
        )
    return Tree(value, places.start, places.item_starts, problems)


_TOO_DEEP = Problem(0, f"more than {MAX_DEPTH} objects and arrays are inside each other")


def as_yaml(text: str) -> str:
    """The same text for libyaml, every character in its place: it refuses surrogate pairs, which JSON needs."""
    return _SURROGATES.sub(r"\\u0041", text)


def _integer(text: str) -> int | float:
    value = int(text) if len(text) <= len(str(-(2**63))) else None
    return value if value is not None and -(2**63) <= value < 2**64 else _float(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _refused(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return any(isinstance(child, dict | list) for child in level)
