"""What the models declare, asked by path: `spec.http[].match[].headers{}.exact`."""

from __future__ import annotations

import pytest
from msgspec import inspect

from xds_server.kube.kinds import KINDS
from xds_server.kube.meta import Ignored

TYPES = {kind.type.KIND: kind.type for kind in KINDS.values()}


def _plain(declared: inspect.Type) -> inspect.Type:
    """Without `| None`."""
    if isinstance(declared, inspect.UnionType):
        options = [option for option in declared.types if not isinstance(option, inspect.NoneType)]
        return options[0] if len(options) == 1 else declared
    return declared


def steps_of(path: str) -> list[str]:
    return path.replace("[]", ".[]").replace("{}", ".{}").split(".")


def declared_type(kind: str, path: str) -> inspect.Type:
    """The type of a field, or Ignored where the declaration stops above it."""
    found: inspect.Type = inspect.type_info(TYPES[kind])
    for step in steps_of(path):
        found = _plain(found)
        match found:
            case inspect.CustomType() if found.cls is Ignored:
                return found
            case inspect.StructType():
                fields = {field.encode_name: field.type for field in found.fields}
                assert step in fields, f"{kind} has no field {step} in {path}"
                found = fields[step]
            case inspect.VarTupleType():
                assert step == "[]", path
                found = found.item_type
            case inspect.DictType():
                assert step == "{}", path
                found = found.value_type
            case _:
                pytest.fail(f"{kind} {path}: {found} has no parts")
    return _plain(found)
