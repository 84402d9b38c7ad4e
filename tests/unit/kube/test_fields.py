"""Every field of the published schemas is declared, with its type and its allowed values: none is unknown here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from tests.unit.kube.schema import TYPES, declared_type, steps_of
from xds_server.kube.meta import Ignored, Object, ObjectMeta
from xds_server.kube.units import Duration

LINES = [
    line
    for line in (Path(__file__).parent / "fields.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
COMMON = {field.encode_name for field in msgspec.structs.fields(Object) + msgspec.structs.fields(ObjectMeta)} | {
    "status"
}
_OF_ISTIO = {"conditions", "observedGeneration", "validationMessages"}
_CONDITION = {"type", "lastProbeTime", "lastTransitionTime", "message", "reason"}
ADDED = {
    "ServiceEntry": {"addresses", "value", "host"} | _OF_ISTIO,
    "WorkloadEntry": _OF_ISTIO | _CONDITION,
}
"""Of the status, which the field list does not have."""


def _agrees(declared: inspect.Type, expected: str) -> bool:
    match declared:
        case inspect.CustomType():
            return declared.cls is Ignored or (issubclass(declared.cls, Duration) and expected == "string")
        case inspect.LiteralType():
            return expected == ("integer" if isinstance(declared.values[0], int) else "string")
        case inspect.UnionType():
            return expected == "object"  # an integer or a string
        case _:
            names: dict[Any, set[str]] = {
                inspect.StrType: {"string", "object"},
                inspect.BytesType: {"string", "object"},
                inspect.IntType: {"integer"},
                inspect.FloatType: {"number"},
                inspect.BoolType: {"boolean"},
                inspect.StructType: {"object"},
            }
            return expected in names[type(declared)]


@pytest.mark.parametrize("line", LINES)
def test_the_field_is_declared_as_published(line: str) -> None:
    field, _, description = line.partition(" : ")
    kind, path = field.split(" ", 1)
    expected, _, allowed = description.partition(" ")
    declared = declared_type(kind, path)
    assert _agrees(declared, expected), f"{declared} is not {expected}"
    if allowed:
        assert isinstance(declared, inspect.LiteralType)
        assert set(declared.values) == set(allowed.split("|"))


@pytest.mark.parametrize("kind", TYPES)
def test_nothing_is_declared_that_is_not_published(kind: str) -> None:
    published = {(kind, step) for line in LINES if line.startswith(kind + " ") for step in steps_of(line.split()[1])}
    declared = {(kind, field.encode_name) for model in _models(TYPES[kind]) for field in msgspec.structs.fields(model)}
    assert {name for _, name in declared - published} <= COMMON | ADDED.get(kind, set())


def _models(model: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    found: set[type[msgspec.Struct]] = set()

    def walk(declared: inspect.Type) -> None:
        match declared:
            case inspect.StructType() if declared.cls not in found:
                found.add(declared.cls)
                for field in declared.fields:
                    walk(field.type)
            case inspect.UnionType():
                for option in declared.types:
                    walk(option)
            case inspect.VarTupleType():
                walk(declared.item_type)
            case inspect.DictType():
                walk(declared.value_type)

    walk(inspect.type_info(model))
    return found
