from __future__ import annotations

from xds_server.envoy.resource import CLUSTER, ENDPOINT, Resource, keyed
from xds_server.xds.group import Group
from xds_server.xds.shared import Shared


def cluster(name: str, version: str = "1") -> Resource:
    return Resource(CLUSTER, name, version, (f"{name}{version}".encode(),), (), ((ENDPOINT, name),))


def test_groups_that_are_offered_equal_resources_hold_the_same_tables() -> None:
    shared, early, late = Shared(), Group(), Group()
    early.offer(early.settle(keyed([cluster("a")]), shared, shared.intern))
    early.offer(early.settle(keyed([cluster("a"), cluster("b")]), shared, shared.intern))
    late.offer(late.settle(keyed([cluster("a"), cluster("b")]), shared, shared.intern))
    assert early.published
    assert late.published
    assert late.published.tables is early.published.tables


def test_a_type_that_did_not_change_keeps_its_table() -> None:
    shared, group = Shared(), Group()
    group.offer(group.settle(keyed([cluster("a")]), shared, shared.intern))
    assert group.published
    before = group.published.tables
    group.offer(group.settle(keyed([cluster("a", "2")]), shared, shared.intern))
    after = group.published.tables
    assert after.by_type[CLUSTER] is not before.by_type[CLUSTER]
    assert after.by_type[ENDPOINT] is before.by_type[ENDPOINT]


def test_what_is_equal_to_what_is_offered_is_no_change() -> None:
    shared, group = Shared(), Group()
    assert group.offer(group.settle(keyed([]), shared, shared.intern))
    assert not group.offer(group.settle(keyed([]), shared, shared.intern))
    assert group.offer(group.settle(keyed([cluster("a")]), shared, shared.intern))
    assert not group.offer(group.settle(keyed([cluster("a")]), shared, shared.intern))
