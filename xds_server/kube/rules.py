"""Rules of an object that types cannot say, such as "only one of these fields".

A model calls `check` in its `__post_init__`, so that each rule is written once, on typed values.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from xds_server.diagnostics import Path

Broken = tuple[Path, str]
"""The field, from the model on, and what is wrong with it."""


class Violation(ValueError):
    """Raised while an object is decoded; `decode` turns it into diagnostics."""

    def __init__(self, broken: tuple[Broken, ...]) -> None:
        super().__init__("; ".join(message for _, message in broken))
        self.broken = broken


def check(*rules: Broken | None) -> None:
    """Raises Violation with all the rules that do not hold."""
    broken = tuple(rule for rule in rules if rule is not None)
    if broken:
        raise Violation(broken)


def at_most_one(model: Any, *fields: str) -> Broken | None:
    """Of the fields (Python names), at most one is set."""
    given = [field for field in fields if _is_set(getattr(model, field))]
    if len(given) < 2:
        return None
    names = [api_name(model, field) for field in given]
    return (names[-1],), f"only one of {', '.join(names[:-1])} and {names[-1]} can be set"


def at_least_one(model: Any, *fields: str) -> Broken | None:
    """Of the fields (Python names), at least one is set."""
    if any(_is_set(getattr(model, field)) for field in fields):
        return None
    return (), f"one of {', '.join(api_name(model, field) for field in fields)} must be set"


def is_address(text: str) -> bool:
    """Whether it is an IP address of either family."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def rule(holds: bool, path: Path, message: str) -> Broken | None:
    return None if holds else (path, message)


def api_name(model: Any, field: str) -> str:
    name: str = model.__struct_encode_fields__[model.__struct_fields__.index(field)]
    return name


def _is_set(value: object) -> bool:
    return value is not None and value != () and value != {}
