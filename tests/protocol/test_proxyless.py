"""What gRPC clients and servers without a proxy are given (section 9 of the specification's checklist).

Checked on the resources as they are translated; `tests/e2e/test_grpc_client.py` asks a stock client.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from google.rpc.status_pb2 import Status

from tests.envoy_config import as_dict
from tests.objects import GRPC, snapshot_of_files
from tests.protocol.client import CDS, EDS, LDS, RDS, SDS
from xds_server.bootstrap import Channel, grpc_bootstrap
from xds_server.bootstrap import Node as BootstrapNode
from xds_server.envoy.resource import EMPTY, Resources
from xds_server.memo import no_memo
from xds_server.mesh.proxy import Proxy
from xds_server.translate import translate
from xds_server.xds.intern import settled
from xds_server.xds.session import Published, Session
from xds_server.xds.shared import Shared
from xds_server.xds.sotw import SOTW
from xds_server.xds.table import EMPTY_TABLES

TESTS = Path(__file__).parents[1]
WORLDS = [TESTS / "golden/grpc/client/in.yaml", TESTS / "fields/world.yaml"]
NAME = "echo.shop.svc.cluster.local:7070"
ROUTES = "outbound|7070||echo.shop.svc.cluster.local"
SERVER = Proxy(GRPC.kind, "shop", labels=(("app", "echo"), ("version", "v1")))


def translated(file: Path, proxy: Proxy = GRPC) -> Resources:
    return translate(snapshot_of_files(file), proxy, no_memo).resources


def every(type_url: str, proxy: Proxy = GRPC) -> list[dict[str, Any]]:
    """All resources of a type, of both worlds."""
    found = [as_dict(r) for file in WORLDS for r in translated(file, proxy).by_type[type_url].values()]
    assert found
    return found


class Stock:
    """A gRPC client: SotW, each type by name."""

    def __init__(self, resources: Resources) -> None:
        shared = Shared()
        tables = settled(resources, EMPTY, EMPTY_TABLES, shared, shared.intern)
        self.session = Session(SOTW, shared, "server-1", Published(tables))
        self.node: Node | None = Node(id="client")

    def ask(self, type_url: str, names: list[str], **fields: Any) -> list[DiscoveryResponse]:
        request = DiscoveryRequest(type_url=type_url, resource_names=names, node=self.node, **fields)
        self.node = None
        self.session.receive(request.SerializeToString(), 0.0)
        return self.responses()

    def responses(self) -> list[DiscoveryResponse]:
        found = []
        while response := self.session.next(0.0):
            found.append(DiscoveryResponse.FromString(response.data))
        return found

    def get(self, type_url: str, *names: str) -> list[bytes]:
        """Asks, takes the one response and acknowledges it."""
        [got] = self.ask(type_url, list(names))
        assert self.ask(type_url, list(names), version_info=got.version_info, response_nonce=got.nonce) == []
        return [any_.value for any_ in got.resources]


def test_9_1_the_bootstrap_says_all_that_grpc_reads() -> None:
    config = grpc_bootstrap(BootstrapNode("client", role="grpc"), Channel("xds.example", 1234))
    [server] = config["xds_servers"]
    assert server["server_uri"] == "xds.example:1234"
    assert server["channel_creds"] == [{"type": "insecure"}]
    assert server["server_features"] == ["xds_v3"]
    assert config["node"]["id"] == "client"
    assert config["server_listener_resource_name_template"].count("%s") == 1


def test_9_2_the_listener_has_exactly_the_name_of_the_target() -> None:
    resources = translated(WORLDS[0])
    assert Stock(resources).get(LDS, NAME) == [resources.by_type[LDS][NAME].body]


def test_9_3_the_listener_is_an_http_connection_manager_that_ends_with_the_router() -> None:
    for listener in every(LDS):
        manager = listener["apiListener"]["apiListener"]
        assert manager["@type"].endswith(".HttpConnectionManager")
        assert manager["rds"]["configSource"] == {"ads": {}, "resourceApiVersion": "V3"}
        filters = [each["name"] for each in manager["httpFilters"]]
        assert filters[-1] == "envoy.filters.http.router"
        assert len(filters) == len(set(filters))
        assert set(filters) <= {"envoy.filters.http.fault", "envoy.filters.http.router"}


def test_9_4_routes_hold_nothing_that_grpc_refuses() -> None:
    for table in every(RDS):
        for host in table["virtualHosts"]:
            assert table["name"].split("|")[3] in host["domains"]
            for route in host["routes"]:
                assert {"prefix", "path", "safeRegex"} & route["match"].keys()
                weighted = route.get("route", {}).get("weightedClusters", {}).get("clusters")
                assert weighted is None or 0 < sum(part.get("weight", 0) for part in weighted) < 2**32


def test_9_5_clusters_hold_nothing_that_grpc_refuses() -> None:
    for cluster in every(CDS):
        assert cluster["type"] == "EDS"
        assert cluster["edsClusterConfig"]["edsConfig"] == {"ads": {}, "resourceApiVersion": "V3"}
        assert cluster.get("lbPolicy", "ROUND_ROBIN") in ("ROUND_ROBIN", "RING_HASH")
        assert not cluster.keys() & {"transportSocket", "transportSocketMatches", "lrsServer", "loadBalancingPolicy"}
    assert not translated(WORLDS[0]).by_type[SDS]


@pytest.mark.parametrize("zone", ["", "z1"])
def test_9_6_assignments_hold_nothing_that_grpc_refuses(zone: str) -> None:
    proxy = Proxy(GRPC.kind, "default", locality=type(GRPC.locality)("r1", zone, ""))
    for assignment in every(EDS, proxy):
        parts = assignment.get("endpoints", [])
        priorities = {part.get("priority", 0) for part in parts}
        assert priorities == set(range(len(priorities)))
        assert all(part["loadBalancingWeight"] > 0 for part in parts)
        places = [(str(part.get("locality")), part.get("priority", 0)) for part in parts]
        assert len(places) == len(set(places))
        endpoints = [endpoint for part in parts for endpoint in part["lbEndpoints"]]
        sockets = [endpoint["endpoint"]["address"]["socketAddress"] for endpoint in endpoints]
        assert all(ip_address(socket["address"]) for socket in sockets)
        addresses = [(socket["address"], socket["portValue"]) for socket in sockets]
        assert len(addresses) == len(set(addresses))
        assert all(endpoint["loadBalancingWeight"] > 0 for endpoint in endpoints)


def test_9_7_a_refused_listener_takes_no_other_away() -> None:
    client = Stock(translated(WORLDS[1]))
    names = sorted(translated(WORLDS[1]).by_type[LDS])[:3]
    [got] = client.ask(LDS, names)
    refusal = Status(code=3, message=f"{names[1]}: validation error")
    seen: set[str] = set()
    responses = client.ask(LDS, names, response_nonce=got.nonce, error_detail=refusal)
    while responses:
        [got] = responses
        bodies = b"".join(any_.value for any_ in got.resources)
        bad = names[1].encode() in bodies
        seen |= set() if bad else {name for name in names if name.encode() in bodies}
        fields = {"error_detail": refusal} if bad else {"version_info": got.version_info}
        responses = client.ask(LDS, names, response_nonce=got.nonce, **fields)
    assert seen == {names[0], names[2]}


def test_9_8_listeners_and_clusters_come_with_all_that_was_asked_for() -> None:
    resources = translated(WORLDS[1])
    for type_url in (LDS, CDS):
        first, second = sorted(resources.by_type[type_url])[:2]
        client = Stock(resources)
        assert len(client.get(type_url, first)) == 1
        assert len(client.get(type_url, first, second)) == 2


def test_9_9_a_server_gets_a_listener_for_each_port_and_kind_of_address() -> None:
    listeners = translated(WORLDS[0], SERVER).by_type[LDS]
    names = [name for name in listeners if name.startswith("xds.istio.io/grpc/lds/inbound/")]
    assert names == ["xds.istio.io/grpc/lds/inbound/0.0.0.0:9090", "xds.istio.io/grpc/lds/inbound/[::]:9090"]
    for name, address in zip(names, ("0.0.0.0", "::"), strict=True):
        listener = as_dict(listeners[name])
        assert listener["address"]["socketAddress"] == {"address": address, "portValue": 9090}
        assert not listener.keys() & {"listenerFilters", "useOriginalDst"}
        [chain] = listener["filterChains"]
        [manager] = [each["typedConfig"] for each in chain["filters"]]
        [host] = manager["routeConfig"]["virtualHosts"]
        assert host["domains"] == ["*"]
        assert host["routes"] == [{"match": {"prefix": "/"}, "nonForwardingAction": {}}]
        assert [each["name"] for each in manager["httpFilters"]] == ["envoy.filters.http.router"]


def test_9_10_after_the_last_resource_was_taken_back_it_can_be_asked_for_again() -> None:
    client = Stock(translated(WORLDS[0]))
    [got] = client.ask(RDS, [ROUTES])
    last = {"version_info": got.version_info, "response_nonce": got.nonce}
    assert client.ask(RDS, [ROUTES], **last) == []
    assert client.ask(RDS, [], **last) == []
    [again] = client.ask(RDS, [ROUTES], **last)
    assert [any_.value for any_ in again.resources] == [any_.value for any_ in got.resources]


def test_9_11_every_name_is_answered_at_once() -> None:
    """The client waits 15 s for each."""
    resources = translated(WORLDS[0])
    client = Stock(resources)
    cluster = "outbound|7070|v1|echo.shop.svc.cluster.local"
    for type_url, name in ((LDS, NAME), (RDS, ROUTES), (CDS, cluster), (EDS, cluster)):
        assert client.get(type_url, name) == [resources.by_type[type_url][name].body]
    [missing] = client.ask(LDS, [NAME, "nowhere:80"])
    assert [error.resource_name.name for error in missing.resource_errors] == ["nowhere:80"]
