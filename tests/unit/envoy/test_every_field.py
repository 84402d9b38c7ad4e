"""Every field of the neutral model has an effect on what Envoy gets, or a reason why not."""

from __future__ import annotations

import enum
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest

from tests.objects import named
from tests.unit.envoy.full import full_view, seconds
from xds_server.envoy.build import build
from xds_server.kube.units import Duration
from xds_server.memo import no_memo
from xds_server.mesh.model import Trust, View
from xds_server.mesh.origin import Origin

Path = tuple[str | int, ...]
Field = tuple[type[msgspec.Struct], str]

WITHOUT_EFFECT = {
    "Endpoint.labels": "the mesh chooses the endpoints of a subset by them",
    **{
        f"Whereabouts.{field}": "the mesh chooses the endpoints of a proxy by it"
        for field in ("node", "hostname", "for_zones", "for_nodes")
    },
    "Endpoint.whereabouts": "it is what its fields are",
    "LoadBalancing.hash_key": "the mesh repeats it in the routes and listeners that lead to the backend",
    "ServicePort.number": "the cluster's name has it",
    "ServicePort.name": "it tells the mesh the protocol",
    "View.found": "they are reported and not sent",
}

OTHER_VALUES: dict[str, list[Any]] = {
    "ChainMatch.destinations": [("10.9.0.0/16",)],
    "Redirect.code": [307],
    "ServerTLS.min_version": ["1.3"],
    "ServerTLS.max_version": ["1.2"],
    "Trust.revoked": [b"revoked"],
    "View.secrets": [(Trust("other", b"", Origin(full_view().secrets[0].origin.ref)),)],
}
"""Where any other value of the type would not do."""


def structs(annotation: Any) -> Iterator[type[msgspec.Struct]]:
    """The structs of the neutral model that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct) and annotation is not Origin:
        yield annotation
    for argument in typing.get_args(annotation):
        yield from structs(argument)


def reachable(root: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    found: dict[type[msgspec.Struct], None] = {root: None}
    queue = [root]
    while queue:
        for annotation in typing.get_type_hints(queue.pop()).values():
            new = [each for each in structs(annotation) if each not in found and "Diagnostic" not in each.__name__]
            found |= dict.fromkeys(new)
            queue += new
    return sorted(found, key=lambda each: each.__name__)


FIELDS = [f"{each.__name__}.{name}" for each in reachable(View) for name in each.__struct_fields__]


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, msgspec.Struct]]:
    """Every struct in a value, with the path to it."""
    if isinstance(value, msgspec.Struct) and not isinstance(value, Origin):
        yield path, value
        for name in value.__struct_fields__:
            yield from walk(getattr(value, name), (*path, name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from walk(item, (*path, index))


def replaced(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        return (*value[:step], replaced(value[step], rest, new), *value[step + 1 :])
    return msgspec.structs.replace(value, **{step: replaced(getattr(value, step), rest, new)})


def other_values(field: str, value: Any) -> list[Any]:
    """Values to put in the place of one: enough that one of them must make a difference."""
    if field in OTHER_VALUES:
        return OTHER_VALUES[field]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, enum.Enum):
        return [member for member in type(value) if member is not value]
    if isinstance(value, int | float):
        return [value + 1]
    if isinstance(value, str):
        return [value + "x"]
    if isinstance(value, bytes):
        return [value + b"x"]
    if isinstance(value, Duration):
        return [Duration(value.nanoseconds + 10**9)]
    if isinstance(value, tuple):
        return [value[1:]] if value else []
    if isinstance(value, Origin):
        return [Origin(value.ref, ("other",))]
    if isinstance(value, msgspec.Struct):
        changed = (replaced(value, (*path, name), new) for path, name, new in changes(value))
        return [None, *changed]
    return [7, "x", True, seconds(7)]  # for None


def changes(root: msgspec.Struct) -> Iterator[tuple[Path, str, Any]]:
    for path, struct in walk(root):
        for name in struct.__struct_fields__:
            value = getattr(struct, name)
            if not isinstance(value, msgspec.Struct) or isinstance(value, Origin):
                for new in other_values(f"{type(struct).__name__}.{name}", value):
                    yield path, name, new


def sent(view: View) -> dict[Any, Any] | None:
    """What is delivered, and said about it; None when a value made no sense to a builder."""
    resources, bugs = build(named(view), no_memo)
    if bugs:
        return None
    return {
        (type_url, name): (each.body, each.origins, each.references)
        for type_url, items in resources.by_type.items()
        for name, each in items.items()
    }


@cache
def places() -> dict[str, list[tuple[Path, msgspec.Struct]]]:
    found: dict[str, list[tuple[Path, msgspec.Struct]]] = {}
    for path, struct in walk(full_view()):
        found.setdefault(type(struct).__name__, []).append((path, struct))
    return found


def alone(view: View, path: Path) -> View:
    """The part of a view that a path leads into, so that there is less to build."""
    if len(path) < 2:
        return view
    return View(**{str(path[0]): (getattr(view, str(path[0]))[path[1]],)})


def has_effect(field: str) -> bool:
    kind, _, name = field.partition(".")
    for path, struct in places()[kind]:
        for new in other_values(field, getattr(struct, name)):
            view = full_view()
            before = sent(alone(view, path))
            after = sent(alone(replaced(view, (*path, name), new), path))
            if after is not None and after != before:
                return True
    return False


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_changes_what_is_sent(field: str) -> None:
    assert has_effect(field) is (field not in WITHOUT_EFFECT)


def test_the_list_of_exceptions_is_about_fields_that_exist() -> None:
    assert set(WITHOUT_EFFECT) <= set(FIELDS)
    assert set(OTHER_VALUES) <= set(FIELDS)
