"""The whole of what one proxy group gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from tests.envoy_config import decoded_twice, message
from tests.objects import named
from tests.unit.envoy.full import LISTENERS, MORE, ORIGIN, ROUTE_TABLES, SERVER_TLS, backend, balanced, full_view
from xds_server.envoy.build import build
from xds_server.envoy.filters import GRPC_ORDER, ORDER
from xds_server.envoy.resource import EMPTY, TYPES, Resource
from xds_server.memo import Generations, no_memo
from xds_server.mesh.model import Algorithm, Chain, ChainMatch, Direction, Listener, Tcp, View

VIEW = named(full_view())
RESOURCES, BUGS = build(VIEW, no_memo)
ALL = {
    f"{short} {name}": resource for short, kind in TYPES.items() for name, resource in RESOURCES.by_type[kind].items()
}


def messages(value: Any) -> Iterator[Any]:
    """A message and every message in it, those within an Any too."""
    if isinstance(value, AnyMessage):
        yield from messages(message(Resource(value.type_url, "", "", (value.value,))))
        return
    yield value
    for field, content in value.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            parts = [content[key] for key in content if field.message_type.fields_by_name["value"].message_type]
        else:
            parts = list(content) if field.is_repeated else [content]
        for part in parts:
            yield from messages(part)


def test_nothing_of_the_full_view_is_left_out() -> None:
    assert BUGS == ()
    counted = {short: len(RESOURCES.by_type[kind]) for short, kind in TYPES.items()}
    assert counted == {
        "lds": len(VIEW.listeners) + len(VIEW.api_listeners) + len(VIEW.grpc_servers) + len(VIEW.name_tables),
        "rds": len(VIEW.route_tables),
        "cds": len(VIEW.backends),
        "eds": len(VIEW.endpoints),
        "sds": len(VIEW.secrets),
    }


@pytest.mark.parametrize("name", ALL)
def test_a_second_decoder_reads_the_same(name: str) -> None:
    assert decoded_twice(ALL[name])


@pytest.mark.parametrize("name", ALL)
def test_no_deprecated_field_is_used(name: str) -> None:
    used = [field for part in messages(message(ALL[name])) for field, _ in part.ListFields()]
    assert used
    assert [field.full_name for field in used if field.GetOptions().deprecated] == []


@pytest.mark.parametrize("name", ALL)
def test_every_reference_is_defined(name: str) -> None:
    assert [each for each in ALL[name].references if each[1] not in RESOURCES.by_type[each[0]]] == []


def test_an_empty_view_is_nothing() -> None:
    found = build(View(), no_memo)[0].by_type
    assert (found.keys(), any(found.values())) == (EMPTY.by_type.keys(), False)


def test_the_same_view_gives_the_same_objects_with_a_memo_and_the_same_bytes_without() -> None:
    memo = Generations()
    first, _ = build(VIEW, memo)
    memo.turn()
    again, _ = build(VIEW, memo)
    for kind, items in first.by_type.items():
        assert {name: item.body for name, item in items.items()} == {
            name: item.body for name, item in RESOURCES.by_type[kind].items()
        }
        assert all(again.by_type[kind][name] is item for name, item in items.items())


def test_a_bug_in_one_value_hurts_no_other() -> None:
    unprotected = Chain("c", ChainMatch(), Tcp((), "s"), SERVER_TLS.__class__(("a",), min_version="9"), (ORIGIN,))
    broken = Listener("broken", "0.0.0.0", 1, Direction.INBOUND, (unprotected,), MORE)
    resources, bugs = build(named(View(listeners=(broken, *LISTENERS), route_tables=ROUTE_TABLES)), no_memo)
    assert set(resources.by_type[TYPES["lds"]]) == set(VIEW.listeners)
    assert [(bug.code, bug.ref) for bug in bugs] == [("XDS1010", MORE[0].ref)]


def test_the_terminal_filter_is_the_last_and_no_filter_is_there_twice() -> None:
    for order in (ORDER, GRPC_ORDER):
        names = [each.NAME for each in order]
        assert names[-1] == "envoy.filters.http.router"
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_algorithm_is_known(algorithm: Algorithm) -> None:
    resources, bugs = build(named(View(backends=(backend("a", balanced(algorithm)),))), no_memo)
    assert bugs == ()
    assert list(resources.by_type[TYPES["cds"]]) == ["a"]


@pytest.mark.parametrize("name", ALL)
def test_no_text_is_set_to_nothing(name: str) -> None:
    """In a `oneof` an empty text is not the same as none: it may take effect."""
    empty = [
        field.full_name
        for part in messages(message(ALL[name]))
        for field, content in part.ListFields()
        if content == "" and field.containing_oneof
    ]
    assert empty == []
