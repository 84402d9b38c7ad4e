"""The synthetic Envoy against this project's sessions: what it asks for, in which order, and when it has all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Node
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf.any_pb2 import Any as Packed

from tests.protocol.client import World
from xds_server.cli.inputs import load
from xds_server.cli.proxies import parse_proxy
from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, Resource, sealed
from xds_server.loadtest.envoy import Envoy, Shared, first_request
from xds_server.loadtest.references import examined
from xds_server.loadtest.variants import DELTA, SOTW, Variant
from xds_server.mesh.proxy import EVERY_GATEWAY
from xds_server.settings import Inputs
from xds_server.translate import translate
from xds_server.xds import delta, sotw
from xds_server.xds.request import Meaning
from xds_server.xds.session import Session

ROOT = Path(__file__).parents[3]
ADS = {"ads": {}, "resource_api_version": "V3"}
SESSIONS = {DELTA: delta.DELTA, SOTW: sotw.SOTW}

each_variant = pytest.mark.parametrize("variant", [DELTA, SOTW], ids=lambda variant: variant.name)


def cluster(name: str, service: str = "") -> Resource:
    eds = {"eds_config": ADS, "service_name": service}
    message = Cluster(name=name, type="EDS", eds_cluster_config=eds)
    return sealed(CLUSTER, name, message, references=[(ENDPOINT, service or name)])


def assignment(name: str, overprovisioning: int = 140) -> Resource:
    policy = {"overprovisioning_factor": {"value": overprovisioning}}
    return sealed(ENDPOINT, name, ClusterLoadAssignment(cluster_name=name, policy=policy))


def listener(name: str, route: str) -> Resource:
    packed = Packed()
    packed.Pack(HttpConnectionManager(rds={"route_config_name": route, "config_source": ADS}))
    filters = [{"name": "http", "typed_config": packed}]
    return sealed(
        LISTENER, name, Listener(name=name, filter_chains=[{"filters": filters}]), references=[(ROUTE, route)]
    )


def routes(name: str) -> Resource:
    return sealed(ROUTE, name, RouteConfiguration(name=name))


FULL = (
    cluster("a"),
    cluster("b", "b-service"),
    assignment("a"),
    assignment("b-service"),
    listener("l", "r"),
    routes("r"),
)


class Conversation:
    """An Envoy and a session. log: type and words of each request."""

    def __init__(self, variant: Variant, *resources: Resource) -> None:
        self.variant, self.world = variant, World(*resources)
        self.session = Session(SESSIONS[variant], self.world.shared, "server", self.world.published)
        self.shared = Shared(variant)
        self.envoy = Envoy(self.shared, first_request(variant, Node(id="sidecar~1.2.3.4~pod.ns~ns")))
        self.log: list[str] = []
        self.hear([self.envoy.start()])

    def publish(self, *resources: Resource) -> None:
        self.world.publish(*resources)
        self.session.publish(self.world.published)
        self.settle()

    def hear(self, requests: Iterable[bytes]) -> None:
        for raw in requests:
            request = self.variant.request.FromString(raw)
            verdict = self.session.receive(raw, 0.0)
            assert verdict.meaning in (Meaning.SUBSCRIBE, Meaning.ACK)
            self.log.append(" ".join((request.type_url.rpartition(".")[2], *words(request, verdict.meaning))))

    def settle(self) -> None:
        while response := self.session.next(0.0):
            self.hear(self.envoy.receive(response.data)[1])


def words(request: object, meaning: Meaning) -> list[str]:
    names = getattr(request, "resource_names", ())
    added, dropped = (getattr(request, f"resource_names_{what}", ()) for what in ("subscribe", "unsubscribe"))
    said = ["ACK"] if meaning is Meaning.ACK else []
    return [*said, *names, *(f"+{name}" for name in added), *(f"-{name}" for name in dropped)]


ORDER = {
    DELTA: [
        "Cluster",
        "ClusterLoadAssignment +a +b-service",
        "Cluster ACK",
        "Listener",
        "ClusterLoadAssignment ACK",
        "RouteConfiguration +r",
        "Listener ACK",
        "RouteConfiguration ACK",
    ],
    SOTW: [
        "Cluster",
        "ClusterLoadAssignment a b-service",
        "Cluster ACK",
        "Listener",
        "ClusterLoadAssignment ACK a b-service",
        "RouteConfiguration r",
        "Listener ACK",
        "RouteConfiguration ACK r",
    ],
}
"""As the real one, which tests/e2e/test_loadtest_order.py asks."""


@each_variant
def test_it_asks_in_the_order_of_an_envoy_until_it_has_all(variant: Variant) -> None:
    talk = Conversation(variant, *FULL)
    assert not talk.envoy.configured
    talk.settle()
    assert talk.log == ORDER[variant]
    assert talk.envoy.configured
    assert talk.envoy.missing() == []


@each_variant
def test_only_the_first_request_says_who_it_is(variant: Variant) -> None:
    talk = Conversation(variant, *FULL)
    first = variant.request.FromString(talk.envoy.start())
    assert first.node.id == "sidecar~1.2.3.4~pod.ns~ns"
    response = talk.session.next(0.0)
    assert response
    _, requests = talk.envoy.receive(response.data)
    assert [variant.request.FromString(raw).HasField("node") for raw in requests] == [False, False]


NAMES_CHANGE = {
    DELTA: [
        "ClusterLoadAssignment +c",
        "Cluster ACK",
        "ClusterLoadAssignment ACK",
        "ClusterLoadAssignment -b-service",
        "Cluster ACK",
    ],
    SOTW: [
        "ClusterLoadAssignment a b-service c",
        "Cluster ACK",
        "ClusterLoadAssignment ACK a b-service c",
        "ClusterLoadAssignment a c",
        "Cluster ACK",
    ],
}
"""The old cluster goes when the new one has its endpoints."""


@each_variant
def test_names_that_come_and_go_are_asked_for_and_left(variant: Variant) -> None:
    talk = Conversation(variant, *FULL)
    talk.settle()
    talk.log.clear()
    talk.publish(cluster("a"), cluster("c"), assignment("a"), assignment("c"), *FULL[4:])
    assert talk.log == NAMES_CHANGE[variant]
    assert talk.envoy.step.wanted[ENDPOINT].names == ("a", "c")


@each_variant
def test_a_change_of_endpoints_is_only_accepted(variant: Variant) -> None:
    talk = Conversation(variant, *FULL)
    talk.settle()
    talk.log.clear()
    step = talk.envoy.step
    talk.publish(*FULL[:2], assignment("a", 150), *FULL[3:])
    assert [entry.split()[:2] for entry in talk.log] == [["ClusterLoadAssignment", "ACK"]]
    assert talk.envoy.step is step


@each_variant
def test_it_tells_what_it_waits_for(variant: Variant) -> None:
    world = (*FULL[:4], listener("l", "missing"))
    talk = Conversation(variant, *world)
    assert talk.envoy.missing() == ["CDS", "LDS"]
    # The session tells what is missing; a server that does not say so leaves the Envoy waiting.
    while response := talk.session.next(0.0):
        message = variant.response.FromString(response.data)
        if message.type_url == ROUTE:
            break
        talk.hear(talk.envoy.receive(response.data)[1])
    assert talk.envoy.missing() == ["RDS missing"]
    assert not talk.envoy.configured


@each_variant
def test_listeners_are_asked_for_without_endpoints_when_patience_is_lost(variant: Variant) -> None:
    talk = Conversation(variant, *FULL)
    response = talk.session.next(0.0)
    assert response
    talk.hear(talk.envoy.receive(response.data)[1])
    assert talk.envoy.go_on() == []
    [request] = talk.envoy.go_on(patient=False)
    assert variant.request.FromString(request).type_url == LISTENER


@each_variant
def test_a_new_stream_begins_from_the_start(variant: Variant) -> None:
    talk = Conversation(variant, *FULL)
    talk.settle()
    again = Conversation(variant, *FULL)
    again.envoy = talk.envoy
    again.log.clear()
    again.hear([talk.envoy.start()])
    again.settle()
    assert again.log == ORDER[variant]


@each_variant
def test_what_streams_are_sent_alike_is_read_once(variant: Variant) -> None:
    first, second = Conversation(variant, *FULL), Conversation(variant, *FULL)
    second.envoy = Envoy(first.shared, first_request(variant, Node(id="router~1.2.3.4~pod.ns~ns")))
    second.envoy.start()
    first.settle()
    second.settle()
    assert second.envoy.step is first.envoy.step


WORLDS = sorted([*ROOT.glob("tests/golden/gateways/*/in.yaml"), *ROOT.glob("tests/golden/sidecar/*/in.yaml")])


@pytest.mark.parametrize("source", WORLDS, ids=lambda source: source.parent.name)
def test_it_finds_the_names_that_the_translation_knows(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source.parent)
    proxies = sorted(source.parent.glob("proxy*.yaml"))
    resources = translate(
        load(Inputs(source=(str(source),))), parse_proxy(str(proxies[0])) if proxies else EVERY_GATEWAY
    ).resources
    for type_url, by_name in resources.by_type.items():
        for name, resource in by_name.items():
            wants = {wanted for wanted in resource.references if wanted[0] in (ENDPOINT, ROUTE, SECRET)}
            found, references = examined(type_url, resource.body)
            assert (found, set(references)) == (name, wants)
