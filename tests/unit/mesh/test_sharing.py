"""What proxies have in common is made once: they hold the same objects, however they differ otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.objects import snapshot
from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource
from xds_server.memo import Generations, no_memo
from xds_server.mesh.model import Locality
from xds_server.mesh.proxy import Interception, Proxy, ProxyKind
from xds_server.translate import translate

MESH = """
    apiVersion: v1
    kind: Service
    metadata: {name: web, namespace: shop}
    spec: {clusterIP: 10.0.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: db, namespace: shop}
    spec: {clusterIP: 10.0.0.2, selector: {app: db}, ports: [{name: tcp, port: 5432}]}
"""
WEB = "outbound|80||web.shop.svc.cluster.local"


def rule(policy: str = "", more: str = "") -> str:
    return f"""
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {{name: web, namespace: shop}}
        spec: {{host: web, trafficPolicy: {{{policy}}}{more}}}
    """


POOL = "connectionPool: {tcp: {maxConnections: 1}}"
FAILOVER = "loadBalancer: {localityLbSetting: {failoverPriority: [app]}}, outlierDetection: {}"
ROUTED = """
    apiVersion: networking.istio.io/v1
    kind: VirtualService
    metadata: {name: web, namespace: shop}
    spec:
      hosts: [web]
      http: [{match: [{sourceLabels: {app: web}}], route: [{destination: {host: db}}]},
             {route: [{destination: {host: web}}]}]
"""


def sidecar(**fields: Any) -> Proxy:
    return Proxy(ProxyKind.SIDECAR, "shop", **fields)


def both(texts: tuple[str, ...], one: Proxy, other: Proxy) -> tuple[Any, Any]:
    """What two proxies get, made with one memo; it is what they get without any."""
    objects, memo = snapshot(*texts), Generations()
    made = tuple(translate(objects, proxy, memo).resources.by_type for proxy in (one, other))
    for proxy, by_type in zip((one, other), made, strict=True):
        alone = translate(objects, proxy, no_memo).resources.by_type
        assert {t: versions(rows) for t, rows in by_type.items()} == {t: versions(rows) for t, rows in alone.items()}
    return made[0], made[1]


def versions(rows: Mapping[str, Resource]) -> dict[str, str]:
    return {name: resource.version for name, resource in rows.items()}


@pytest.mark.parametrize(
    "other",
    [
        sidecar(labels=(("app", "db"),)),
        sidecar(labels=(("app", "web"), ("version", "v2"))),
        sidecar(labels=(("app", "web"),), service_account="other", node="n"),
        sidecar(labels=(("app", "web"),), locality=Locality("r", "z")),
    ],
    ids=repr,
)
def test_sidecars_of_a_namespace_share_their_way_out(other: Proxy) -> None:
    one, more = both((MESH,), sidecar(labels=(("app", "web"),)), other)
    assert one[CLUSTER][WEB] is more[CLUSTER][WEB]
    assert one[ENDPOINT][WEB] is more[ENDPOINT][WEB] or other.locality != Locality()
    assert one[ROUTE]["80"] is more[ROUTE]["80"]
    assert one[LISTENER]["0.0.0.0_80"] is more[LISTENER]["0.0.0.0_80"]


@pytest.mark.parametrize("interception", list(Interception))
def test_each_has_its_own_way_in(interception: Interception) -> None:
    web, db = (sidecar(labels=(("app", app),), interception=interception) for app in ("web", "db"))
    one, more = both((MESH,), web, db)
    mine = {name for name in one[CLUSTER] if name.startswith("inbound|")}
    theirs = {name for name in more[CLUSTER] if name.startswith("inbound|")}
    captured = interception is not Interception.NONE
    assert (mine, theirs) == (({"inbound|80||"}, {"inbound|5432||"}) if captured else (set(), set()))


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        (
            rule("connectionPool: {tcp: {maxConnections: 1}}", ", workloadSelector: {matchLabels: {app: web}}"),
            CLUSTER,
            WEB,
        ),
        (rule(FAILOVER), ENDPOINT, WEB),
        (ROUTED, ROUTE, "80"),
    ],
    ids=["a rule for some clients", "failover by labels", "a route for some clients"],
)
def test_labels_that_somebody_asks_for_tell_them_apart(text: str, kind: str, name: str) -> None:
    endpoints = """
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web, namespace: shop, labels: {kubernetes.io/service-name: web}}
        addressType: IPv4
        ports: [{name: http, port: 80}]
        endpoints: [{addresses: [10.1.0.1], targetRef: {kind: Pod, name: a}}, {addresses: [10.1.0.2]}]
    """
    pod = """
        apiVersion: v1
        kind: Pod
        metadata: {name: a, namespace: shop, labels: {app: web}}
        spec: {nodeName: node-1}
    """
    labels = [(("app", "web"), ("version", "v1")), (("app", "web"), ("version", "v2")), (("app", "db"),)]
    first, same, other = (sidecar(labels=each) for each in labels)
    texts = (MESH, text, endpoints, pod)
    one, more = both(texts, first, same)
    assert one[kind][name] is more[kind][name]
    one, more = both(texts, first, other)
    assert one[kind][name].version != more[kind][name].version
