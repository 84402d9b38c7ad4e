"""What is pushed when, and in which order (P01 to P09, X01 to X12 of the specification's checklist)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.protocol.client import (
    CDS,
    EDS,
    LDS,
    RDS,
    SDS,
    Client,
    DeltaClient,
    Got,
    SotwClient,
    World,
    assignment,
    cluster,
    listener,
    resource,
    route,
    secret,
)
from xds_server.envoy.resource import EMPTY, Resource
from xds_server.xds.intern import settled
from xds_server.xds.order import PHASES, SENDING
from xds_server.xds.table import EMPTY_TABLES

VARIANTS = pytest.mark.parametrize("variant", ["sotw", "delta"])


def system(*routed: str, clusters: Iterable[str] = "xy", content: str = "1") -> list[Resource]:
    """A listener, a route configuration to some clusters, and clusters with their assignments."""
    made = [listener("l", routes=["r"]), route("r", *routed), secret("s")]
    for name in clusters:
        made += [cluster(name, content), assignment(name, content)]
    return made


def connect(world: World, variant: str) -> Client:
    """An Envoy that has everything."""
    client: SotwClient | DeltaClient = getattr(world, variant)()
    client.get(CDS)
    client.get(EDS, world.resources.by_type[EDS])
    client.get(SDS, ["s"])
    client.get(LDS)
    client.get(RDS, ["r"])
    assert client.quiet()
    return client


def ack(client: Client, got: Got) -> None:
    names = {EDS: list(client.world.resources.by_type[EDS]), RDS: ["r"], SDS: ["s"]}.get(got.type_url, [])
    if isinstance(client, SotwClient):
        client.ack(got, names)
    elif isinstance(client, DeltaClient):
        client.ack(got)


@VARIANTS
def test_p01_5_eds_an_endpoint_change_is_one_assignment_and_nothing_else(variant: str) -> None:
    w = World(*system("x"))
    client = connect(w, variant)
    w.publish(*system("x")[:4], assignment("x", "2"), *system("x")[5:])
    got = client.take()
    assert [(g.type_url, g.contents) for g in got] == [(EDS, {"x": "2"})]


@VARIANTS
def test_p02_endpoints_follow_a_changed_cluster_at_once_though_they_did_not_change(variant: str) -> None:
    w = World(*system("x"))
    client = connect(w, variant)
    w.publish(*system("x")[:3], cluster("x", "2"), assignment("x"), cluster("y"), assignment("y"))
    clusters, endpoints = client.take()
    assert clusters.type_url == CDS
    assert clusters.contents["x"] == "2"
    assert (endpoints.type_url, endpoints.names) == (EDS, ["x"])


def test_p02_the_client_asking_again_for_its_endpoints_meanwhile_gets_no_second_copy() -> None:
    """SotW Envoy repeats its EDS request with the old version and nonce after every CDS response."""
    w = World(*system("x"))
    client = w.sotw()
    client.get(CDS)
    endpoints = client.get(EDS, ["x", "y"])
    w.publish(*system("x", content="2"))
    client.take()
    client.ask(EDS, ["x", "y"], endpoints.version, endpoints.nonce)
    assert client.quiet()


@VARIANTS
@pytest.mark.parametrize("type_url", [LDS, RDS])
def test_p03_a_change_of_a_listener_or_of_routes_is_that_alone(variant: str, type_url: str) -> None:
    w = World(*system("x"))
    client = connect(w, variant)
    new = {LDS: listener("l", "2", ["r"]), RDS: route("r", "x", "y")}[type_url]
    w.publish(*(r for r in system("x") if r.type_url != type_url), new)
    assert [g.type_url for g in client.take()] == [type_url]


@VARIANTS
def test_p04_an_added_cluster_comes_with_its_endpoints_as_soon_as_they_are_asked_for(variant: str) -> None:
    w = World(*system("x"))
    client = connect(w, variant)
    w.publish(*system("x", clusters="xyz"))
    added = client.one(CDS)
    assert "z" in added.names
    client.ask(EDS, ["x", "y", "z"] if variant == "sotw" else ["z"])  # type: ignore[attr-defined]
    assert "z" in client.one(EDS).names


@VARIANTS
def test_p04_a_removed_cluster_is_gone(variant: str) -> None:
    w = World(*system("x"))
    client = connect(w, variant)
    w.publish(*system("x", clusters="x"))
    clusters = client.one(CDS)
    assert (clusters.names, clusters.removed) == ((["x"], []) if variant == "sotw" else ([], ["y"]))


@VARIANTS
def test_p05_the_same_content_again_sends_nothing(variant: str) -> None:
    w = World(*system("x"))
    client = connect(w, variant)
    w.publish(*system("x"))
    client.wait(60)
    assert client.quiet()


@VARIANTS
def test_p06_a_client_that_was_busy_gets_only_the_newest(variant: str) -> None:
    w = World(*system("x"))
    client = connect(w, variant)
    w.clients.remove(client)
    for i in range(20):
        w.publish(*system("x")[:4], assignment("x", str(i)), *system("x")[5:])
        client.session.publish(w.published)
    client.pull()
    assert [g.contents for g in client.take()] == [{"x": "19"}]


@VARIANTS
def test_p07_make_before_break(variant: str) -> None:
    """A route moves from x to y, and x goes: add y, wait, move the route, wait, remove x."""
    w = World(*system("x", clusters="x"))
    client = connect(w, variant)
    w.publish(*system("y", clusters="y"))
    added = client.one(CDS)
    assert "y" in added.names
    assert "x" not in added.removed
    assert "x" in added.names or variant == "delta"
    client.ask(EDS, ["x", "y"] if variant == "sotw" else ["y"])  # type: ignore[attr-defined]
    endpoints = client.one(EDS)
    assert "y" in endpoints.names
    ack(client, endpoints)
    assert client.quiet()  # Envoy acknowledges a cluster once it is warm
    ack(client, added)
    moved = client.one(RDS)
    assert moved.contents == {"r": "y"}
    assert client.quiet()
    ack(client, moved)
    gone = client.one(CDS)
    assert (gone.names, gone.removed) == ((["y"], []) if variant == "sotw" else ([], ["x"]))


def named(variant: str, clusters: str = "x") -> tuple[World, Any]:
    """A route to x and perhaps more clusters, and a gRPC client that has what it named."""
    world = World(*system("x", clusters=clusters))
    client: Any = getattr(world, variant)()
    for type_url, name in ((LDS, "l"), (RDS, "r"), (CDS, "x"), (EDS, "x")):
        client.get(type_url, [name])
    assert client.quiet()
    return world, client


def is_told_that_x_is_gone(client: Any, variant: str) -> None:
    gone = client.one(CDS)
    assert (gone.names, gone.removed) == ([], [] if variant == "sotw" else ["x"])


@VARIANTS
def test_p07_a_cluster_stays_until_the_client_that_named_it_takes_the_name_back(variant: str) -> None:
    """gRPC asks for a new cluster only once it has the route, and its calls use the old one until the new is warm."""
    w, client = named(variant)
    w.publish(*system("y", clusters="y"))
    ack(client, client.one(RDS))
    both = ["x", "y"] if variant == "sotw" else ["y"]
    for type_url in (CDS, EDS):
        client.ask(type_url, both)
        added = client.one(type_url)
        assert "y" in added.names
        assert "x" in added.names or type_url == EDS or variant == "delta"
        assert not added.removed
        if variant == "sotw":
            client.ack(added, both)
        else:
            client.ack(added)
        assert client.quiet()
    for type_url in (EDS, CDS):
        client.ask(type_url, **({"names": ["y"]} if variant == "sotw" else {"drop": ["x"]}))
        assert client.quiet()
    assert client.session.settled()
    assert client.session.deadline is None


@VARIANTS
def test_p07_a_client_that_keeps_naming_a_cluster_that_is_gone_is_told_after_a_while(variant: str) -> None:
    w, client = named(variant)
    w.publish(*system("y", clusters="y"))
    ack(client, client.one(RDS))
    client.wait(4.9)
    assert client.quiet()
    client.wait(0.2)
    is_told_that_x_is_gone(client, variant)


@VARIANTS
def test_p07_that_while_is_no_longer_when_other_things_change_meanwhile(variant: str) -> None:
    w, client = named(variant, clusters="xz")
    for _ in range(6):
        w.publish(*system("y", clusters="yz", content=str(client.now)))
        for got in client.take(RDS):
            ack(client, got)
        assert CDS not in [got.type_url for got in client.take()]
        client.wait(0.9)
    assert client.session.deadline is None
    is_told_that_x_is_gone(client, variant)


@VARIANTS
def test_p07_nobody_waits_for_a_cluster_that_the_client_refused(variant: str) -> None:
    w, client = named(variant)
    w.publish(*system("x", "y", clusters="xy"))
    ack(client, client.one(RDS))
    both = [["x", "y"]] if variant == "sotw" else []  # which SotW clients repeat with every answer
    client.ask(CDS, *(both or [["y"]]))
    refused = client.one(CDS)
    assert "y" in refused.names
    client.nack(refused, *both)
    for got in client.take(CDS):
        client.ack(got, *both)
    assert client.session.deadline is None


@VARIANTS
def test_p07_a_client_hears_at_once_of_a_listener_that_is_gone_though_it_names_its_cluster(variant: str) -> None:
    w, client = named(variant)
    w.publish(secret("s"))
    gone = client.one(LDS)
    assert (gone.names, gone.removed) == ([], [] if variant == "sotw" else ["l"])


@VARIANTS
def test_p07_nobody_waits_for_the_answer_to_what_was_taken_back(variant: str) -> None:
    w = World(*system("x", clusters="x"))
    client: Any = connect(w, variant)
    w.publish(*system("x", clusters="x")[:-1], assignment("x", "2"))
    assert client.one(EDS).contents == {"x": "2"}
    client.ask(EDS, **({} if variant == "sotw" else {"drop": ["x"]}))
    w.publish(*system("y", clusters="y"))
    ack(client, client.one(CDS))
    assert client.one(RDS).contents == {"r": "y"}


@VARIANTS
def test_p07_x03_old_routes_are_there_until_the_listeners_are_new(variant: str) -> None:
    w = World(listener("l", "1", ["old"]), route("old"))
    client: Any = getattr(w, variant)()
    client.get(LDS)
    client.get(RDS, ["old"])
    w.publish(listener("l", "2", ["new"]), route("new"))
    changed = client.one(LDS)
    if variant == "sotw":  # a listener that drains asks for its routes once more
        client.ask(RDS, [])
    assert client.get(RDS, ["new", "old"]).names == ["new", "old"]
    assert client.quiet()
    client.ack(changed)
    assert [got.removed for got in client.take()] == ([["old"]] if variant == "delta" else [])


@VARIANTS
def test_p07_the_waits_are_bounded(variant: str) -> None:
    w = World(*system("x", clusters="x"))
    client = connect(w, variant)
    w.publish(*system("y", clusters="y"))
    assert [g.type_url for g in client.take()] == [CDS]
    assert client.session.deadline == client.now + 5
    client.wait(4.9)
    assert client.quiet()
    client.wait(0.2)
    assert [g.type_url for g in client.take()] == [RDS]
    client.wait(5.1)
    assert CDS in [g.type_url for g in client.take()]
    assert client.session.deadline is None


@VARIANTS
def test_p07_changes_that_never_end_do_not_hold_back_routes_for_ever(variant: str) -> None:
    w = World(*system("x", clusters="x"))
    client = connect(w, variant)
    seen: list[str] = []
    for i in range(12):
        w.publish(*system("y", clusters="y", content=str(i)))
        seen += [g.type_url for g in client.take()]
        client.wait(1)
    assert RDS in seen


@VARIANTS
def test_p07_a_refused_route_keeps_the_cluster_that_the_old_one_needs(variant: str) -> None:
    w = World(*system("x", clusters="x"))
    client = connect(w, variant)
    w.publish(*system("y", clusters="y"))
    ack(client, client.one(CDS))
    moved = client.one(RDS)
    client.nack(moved)  # type: ignore[attr-defined]
    client.wait(60)
    assert all("x" not in g.removed and g.type_url != CDS for g in client.take())


@VARIANTS
def test_p07_a_listener_that_goes_leaves_with_the_one_that_takes_its_address(variant: str) -> None:
    w = World(listener("old"))
    client = getattr(w, variant)()
    client.get(LDS)
    w.publish(listener("new"))
    got = client.one(LDS)
    assert got.names == ["new"]
    assert got.removed == ([] if variant == "sotw" else ["old"])


@VARIANTS
def test_p08_a_name_that_comes_to_exist_is_delivered(variant: str) -> None:
    w = World(cluster("z"))
    client = getattr(w, variant)()
    client.ask(EDS, ["late"])
    client.take()
    w.publish(cluster("z"), assignment("late"))
    assert client.one(EDS).names == ["late"]


def test_p08_a_name_that_went_and_came_back_is_delivered() -> None:
    w = World(assignment("a"), assignment("b"))
    client = w.delta()
    client.get(EDS, ["a"])
    w.publish(assignment("b"))
    gone = client.one(EDS)
    assert gone.removed == ["a"]
    client.ack(gone)
    w.publish(assignment("a"), assignment("b"))
    assert client.one(EDS).names == ["a"]


@VARIANTS
def test_p09_the_last_endpoint_going_is_an_empty_assignment(variant: str) -> None:
    w = World(*system("x"))
    client = connect(w, variant)
    w.publish(*system("x")[:4], assignment("x", ""), *system("x")[5:])
    got = client.one(EDS)
    assert got.contents == {"x": ""}
    assert got.removed == []


@VARIANTS
@pytest.mark.parametrize("type_url", [CDS, LDS])
def test_x01_the_first_wildcard_request_is_answered_even_with_nothing_once(variant: str, type_url: str) -> None:
    client = getattr(World(), variant)()
    assert client.get(type_url).names == []
    assert client.quiet()


@VARIANTS
def test_x03_a_route_that_is_gone_is_not_answered_in_a_loop(variant: str) -> None:
    w = World(*system("x"))
    client = connect(w, variant)
    w.publish(*(r for r in system("x") if r.type_url not in (LDS, RDS)))
    for _ in range(5):
        for got in client.take():
            ack(client, got)
        client.wait(1)
    assert client.quiet()


@VARIANTS
def test_x04_a_type_that_nobody_asked_for_is_never_sent(variant: str) -> None:
    w = World(*system("x"))
    client = getattr(w, variant)()
    client.get(CDS)
    w.publish(*system("y", content="2"))
    client.wait(60)
    assert {got.type_url for got in client.take()} == {CDS}


def test_x05_only_clusters_that_changed_are_announced() -> None:
    w = World(*(cluster(str(i)) for i in range(1000)))
    client = w.delta()
    client.ask(CDS)
    assert [len(got.names) for got in client.take()] == [100] * 10
    w.publish(*(cluster(str(i), "2" if i == 7 else "1") for i in range(1000)))
    assert client.one(CDS).names == ["7"]


@VARIANTS
def test_x06_x07_nothing_is_sent_as_time_goes_by(variant: str) -> None:
    """A heartbeat alone in a SotW CDS response would delete the cluster in Envoy 1.40."""
    w = World(*system("x"))
    client = connect(w, variant)
    client.wait(3600)
    assert client.quiet()


@VARIANTS
def test_x10_names_in_locators_count_like_names(variant: str) -> None:
    from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest, ResourceLocator

    client = getattr(World(assignment("a")), variant)()
    locators = [ResourceLocator(name="a", dynamic_parameters={"k": "v"})]
    request = (
        DiscoveryRequest(type_url=EDS, resource_locators=locators)
        if variant == "sotw"
        else DeltaDiscoveryRequest(type_url=EDS, resource_locators_subscribe=locators)
    )
    client.raw(request.SerializeToString())
    assert client.one(EDS).names == ["a"]


def test_x12_unknown_fields_are_ignored() -> None:
    from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

    client = World(cluster("a")).sotw()
    client.raw(DiscoveryRequest(type_url=CDS).SerializeToString() + b"\xfa\x3f\x03abc")
    assert client.one(CDS).names == ["a"]


def test_5_sds_a_secret_is_never_said_to_be_removed() -> None:
    """Envoy refuses it and goes on with the last valid one (envoy#32832)."""
    w = World(*system("x"))
    client = connect(w, "delta")
    w.publish(*(r for r in system("x") if r.type_url != SDS))
    client.wait(60)
    assert client.quiet()
    w.publish(*(r for r in system("x") if r.type_url != SDS), secret("s", "2"))
    assert client.one(SDS).contents == {"s": "2"}


@pytest.mark.parametrize("limit", ["number", "size"])
def test_x13_large_delta_responses_are_split(limit: str) -> None:
    content = "x" * (2**20) if limit == "size" else "x"
    w = World(*(resource(EDS, f"{i:03}", content) for i in range(8 if limit == "size" else 250)))
    client = w.delta()
    client.ask(EDS, ["*"])
    sizes = [len(got.names) for got in client.take()]
    assert sizes == ([2, 2, 2, 2] if limit == "size" else [100, 100, 50])


@VARIANTS
def test_a_client_that_resumes_gets_routes_after_its_clusters_are_warm(variant: str) -> None:
    w = World(*system("y", clusters="xy"))
    client = getattr(w, variant)()
    have = {"version": "old"} if variant == "sotw" else {"versions": {"x": "x-1"}}
    client.ask(CDS, **have)
    added = client.one(CDS)
    client.ask(RDS, ["r"], **({"version": "old"} if variant == "sotw" else {"versions": {"r": "x"}}))
    assert client.quiet()
    client.ack(added)
    assert client.one(RDS).contents == {"r": "y"}


def test_a_sotw_client_that_resumes_keeps_the_old_clusters_until_its_routes_are_new() -> None:
    old = World(*system("x", clusters="x")).resources
    w = World()
    w.publish(*system("y", clusters="y"), before=settled(old, EMPTY, EMPTY_TABLES, w.shared, w.shared.intern))
    client = w.sotw()
    client.ask(CDS, version="old")
    both = client.one(CDS)
    assert both.names == ["x", "y"]
    client.ask(EDS, ["x", "y"], version="old")
    client.ask(LDS, version="old")
    client.ask(RDS, ["r"], version="old")
    client.ack(client.one(EDS), ["x", "y"])
    assert client.quiet()
    client.ack(both)
    for got in (client.one(LDS), client.one(RDS)):
        assert client.quiet()
        client.ack(got, ["r"] if got.type_url == RDS else [])
    assert client.one(CDS).names == ["y"]


def test_every_line_of_the_order_has_its_reason() -> None:
    assert all(len(line.why) > 20 for phase in PHASES for line in phase.lines)
    assert set(SENDING) == {CDS, EDS, LDS, RDS, SDS}
