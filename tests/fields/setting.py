"""Sets one field of an object of the world, and nothing else."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fields.samples import BESIDE, KEYS, VALUES
from xds_server.diagnostics import Path


def steps(field: str) -> list[str]:
    """`spec.http[].match[].uri.exact` -> ["spec", "http", "[]", "match", ...]."""
    return field.replace("[]", ".[]").replace("{}", ".{}").split(".")


def candidates(field: str, kind: str, type_name: str, allowed: list[str]) -> list[Any]:
    """Values to try: those of the table of samples, else those of the schema."""
    for pattern, values in VALUES:
        if re.fullmatch(pattern, f"{kind} {field}"):
            return values
    if allowed:
        return list(allowed)
    return {"string": ["sample"], "integer": [7], "number": [12.5], "boolean": [True, False], "object": [{}]}[type_name]


def beside(field: str, kind: str) -> Mapping[str, Any]:
    """What must stand beside a field for it to mean something: the object's changes, by path."""
    result: dict[str, Any] = {}
    for pattern, values in BESIDE:
        if re.match(pattern, f"{kind} {field}"):
            result |= values
    return result


def with_fields(document: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which the fields (with `[]` for the first item of a list) have these values; None removes one."""
    result = copy.deepcopy(document)
    for field, value in fields.items():
        assign(result, steps(field), value)
    return result


def map_key(field: str, kind: str) -> str:
    return next((key for pattern, key in KEYS if re.fullmatch(pattern, f"{kind} {field}")), "sample")


def assign(document: dict[str, Any], path: list[str], value: Any, map_key: str = "sample") -> Path:
    """Sets a field, making what is missing on the way. Gives its path."""
    node: Any = document
    done: list[str | int] = []
    for step, following in zip(path, [*path[1:], None], strict=True):
        key: Any = 0 if step == "[]" else map_key if step == "{}" else step
        done.append(key)
        if following is None:
            _put(node, key, copy.deepcopy(value))
        else:
            node = _child(node, key, [] if following == "[]" else {})
    return tuple(done)


def _child(node: Any, key: Any, empty: Any) -> Any:
    if isinstance(node, list):
        if not node:
            node.append(empty)
        return node[key]
    if node.get(key) is None:
        node[key] = empty
    return node[key]


def _put(node: Any, key: Any, value: Any) -> None:
    if isinstance(node, list):
        node[:1] = [] if value is None else [value]
    elif value is None:
        node.pop(key, None)
    else:
        node[key] = value


def related(one: Path, other: Path) -> bool:
    """Whether one of the fields holds the other, or is the other."""
    shorter, longer = sorted((one, other), key=len)
    return longer[: len(shorter)] == shorter


def lines(text: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """kind, field, type and allowed values of each line of the published field list."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, described = line.partition(" : ")
            kind, field = name.split(" ", 1)
            type_name, _, allowed = described.partition(" ")
            yield kind, field, type_name, [value for value in allowed.split("|") if value]
