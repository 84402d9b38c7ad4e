"""What proxies have in common is made once: they hold the same objects, however they differ otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from tests.objects import snapshot
from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource
from xds_server.memo import Generations, no_memo
from xds_server.mesh import view
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


TWO_SIDECARS = """
    apiVersion: networking.istio.io/v1
    kind: Sidecar
    metadata: {name: web, namespace: shop}
    spec:
      workloadSelector: {labels: {app: web}}
      egress:
      - {port: {number: 8080, protocol: HTTP_PROXY, name: p}, bind: 127.0.0.1, hosts: ["*/*"]}
      - {hosts: ["*/*"]}
    ---
    apiVersion: networking.istio.io/v1
    kind: Sidecar
    metadata: {name: db, namespace: shop}
    spec: {workloadSelector: {labels: {app: db}}, egress: [{hosts: ["*/*"]}]}
"""


def test_what_different_sidecars_limit_is_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    objects, memo = snapshot(MESH, TWO_SIDECARS), Generations()
    proxies = [
        sidecar(labels=labels, http_proxy_port=8080)
        for labels in ((("app", "web"),), (("app", "db"),), (("app", "web"), ("version", "v2")))
    ]
    for proxy in proxies:
        assert translate(objects, proxy, memo).diagnostics == translate(objects, proxy, no_memo).diagnostics
    memo.turn()
    asked: list[str] = []

    def counted(mesh: Any, ref: Any, *rest: Any) -> Any:
        asked.append(ref.name)
        return one_backend(mesh, ref, *rest)

    one_backend = view._backend
    monkeypatch.setattr(view, "_backend", counted)
    others = msgspec.structs.replace(objects, by_type={**objects.by_type, **snapshot(rule()).by_type})
    for proxy in proxies:
        translate(others, proxy, memo)
    assert asked == [WEB, WEB], "nobody else's backends are looked at again, and those of two are shared"
