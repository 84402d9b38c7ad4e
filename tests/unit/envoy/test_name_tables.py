"""The DNS server of a proxy, whose many names are joined as bytes."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from tests.envoy_config import message
from tests.unit.envoy.full import MORE
from xds_server.envoy import name_tables
from xds_server.envoy.build import build
from xds_server.envoy.name_tables import answers, name_table
from xds_server.envoy.resource import LISTENER
from xds_server.incremental import Pieces, fixed
from xds_server.memo import Generations
from xds_server.mesh.model import NameTable, View

HOSTS = tuple((f"{number:03}.example.com", (f"10.0.0.{number}",)) for number in range(200))


def table(*pieces: name_tables.Hosts) -> NameTable:
    return NameTable("dns", "127.0.0.1", 15053, Pieces(pieces), MORE)


@pytest.mark.parametrize("hosts", [(), HOSTS[:1], HOSTS], ids=len)
def test_the_joined_bytes_are_those_of_the_whole_message(hosts: name_tables.Hosts) -> None:
    resource = name_table(table(hosts), (answers(hosts),))
    assert resource.body == message(resource).SerializeToString(deterministic=True)


def test_the_version_does_not_depend_on_the_pieces() -> None:
    one = name_table(table(HOSTS), (answers(HOSTS),))
    two = name_table(table(HOSTS[:7], HOSTS[7:]), (answers(HOSTS[:7]), answers(HOSTS[7:])))
    other = name_table(table(HOSTS[:7]), (answers(HOSTS[:7]),))
    assert (one.version, one.body) == (two.version, two.body)
    assert one.version != other.version


def test_names_that_did_not_change_are_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    memo, written = Generations(), []

    def count(hosts: name_tables.Hosts) -> name_tables.Answers:
        written.append(len(hosts))
        return answers(hosts)

    monkeypatch.setattr("xds_server.envoy.build.answers", count)
    first, second = HOSTS[:150], HOSTS[150:]
    for pieces in ((first, second), (first, HOSTS[150:151])):
        resources, bugs = build(View(name_tables=fixed({"dns": table(*pieces)})), memo)
        memo.turn()
        assert (list(resources.by_type[LISTENER]), bugs) == (["dns"], ())
    assert written == [150, 50, 1]


def test_the_version_is_of_all_that_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    before = name_table(table(HOSTS), (answers(HOSTS),))
    monkeypatch.setattr(name_tables, "packed", lambda message: AnyMessage(type_url="another.resolver"))
    after = name_table(table(HOSTS), (answers(HOSTS),))
    assert before.body != after.body
    assert before.version != after.version
