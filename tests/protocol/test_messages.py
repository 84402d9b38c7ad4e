"""What holds for every response (M1 to M9 of the specification's checklist)."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, DiscoveryResponse

from tests.protocol.client import CDS, EDS, LDS, RDS, Client, World, assignment, cluster, listener, route
from xds_server.xds.wire import delta_response, sotw_response

ALL = (cluster("a"), cluster("b"), assignment("a"), assignment("b"), listener("l", routes=["r"]), route("r", "a"))


def converse(client: Client, world: World) -> None:
    """All types are asked for, then changed a few times; nothing is acknowledged."""
    for type_url in (CDS, EDS, LDS, RDS):
        client.ask(type_url, ["*"])  # type: ignore[attr-defined]
    for i in "234":
        world.publish(*(cluster(n, i) for n in "ac"), *(assignment(n, i) for n in "ac"), *ALL[4:])
        client.wait(20)


@pytest.fixture(params=["sotw", "delta"])
def client(request: pytest.FixtureRequest) -> Client:
    world = World(*ALL)
    client: Client = getattr(world, request.param)()
    converse(client, world)
    return client


def test_m1_the_type_of_a_response_is_that_of_its_resources(client: Client) -> None:
    assert {got.type_url for got in client.inbox} == {CDS, EDS, LDS, RDS}  # the bodies' types: `Client._read`


def test_m2_nonces_are_never_empty_and_never_used_twice(client: Client) -> None:
    nonces = [got.nonce for got in client.inbox]
    assert all(nonces)
    assert len(nonces) == len(set(nonces)) > 8


def test_m3_versions_are_never_empty(client: Client) -> None:
    assert all(got.version for got in client.inbox)


def test_m4_no_name_is_both_there_and_removed(client: Client) -> None:
    assert any(got.removed for got in client.inbox) or client.variant.name == "sotw"
    assert all(not set(got.names) & set(got.removed) for got in client.inbox)


def test_m7_responses_say_who_made_them(client: Client) -> None:
    assert {got.identifier for got in client.inbox} == {"server-1"}


def test_m8_versions_differ_when_the_content_does(client: Client) -> None:
    contents: dict[str, set[str]] = {}
    for got in client.inbox:
        if got.type_url == CDS and client.variant.name == "sotw":
            contents.setdefault(got.version, set()).add(str(got.contents))
    assert all(len(found) == 1 for found in contents.values())


def test_m5_m6_resources_are_wrapped_in_delta_and_bare_in_sotw() -> None:
    a = cluster("a")
    delta = DeltaDiscoveryResponse.FromString(delta_response("1", "me", CDS, "v", (a,), ("gone",)))
    assert [(r.name, r.version, r.resource.value) for r in delta.resources] == [("a", a.version, a.body)]
    sotw = DiscoveryResponse.FromString(sotw_response("1", "me", CDS, "v", (a,)))
    assert [(any_.type_url, any_.value) for any_ in sotw.resources] == [(CDS, a.body)]


def test_x06_x07_x08_no_resource_has_a_time_to_live_or_another_name() -> None:
    """A heartbeat alone in a SotW CDS response would delete the cluster in Envoy 1.40; aliases are for VHDS."""
    delta = DeltaDiscoveryResponse.FromString(delta_response("1", "me", CDS, "v", (cluster("a"), cluster("b"))))
    assert [(r.HasField("resource"), r.HasField("ttl"), list(r.aliases)) for r in delta.resources] == [
        (True, False, [])
    ] * 2


@pytest.mark.parametrize("count", [0, 1, 300])
def test_m9_what_is_written_by_hand_is_what_protobuf_writes(count: int) -> None:
    resources = tuple(cluster(f"c{i}", "x" * i) for i in range(count))
    removed = tuple(f"gone-{i}" for i in range(count))
    delta = DeltaDiscoveryResponse.FromString(delta_response("77", "me", CDS, "v", resources, removed))
    assert [r.resource.value for r in delta.resources] == [r.body for r in resources]
    assert list(delta.removed_resources) == list(removed)
    assert (delta.nonce, delta.control_plane.identifier, delta.system_version_info) == ("77", "me", "v")
    written = sotw_response("77", "me", CDS, "v", resources, removed)
    sotw = DiscoveryResponse.FromString(written)
    assert [(e.resource_name.name, e.error_detail.code) for e in sotw.resource_errors] == [(n, 5) for n in removed]
    assert sotw.SerializeToString(deterministic=True) == written
