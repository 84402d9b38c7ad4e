"""The Sidecar resource: which one counts for a workload, and what it lets it see."""

from __future__ import annotations

import pytest

from tests.objects import objects, seen
from xds_server.diagnostics import Diagnostic
from xds_server.incremental import fixed
from xds_server.kube.istio.sidecar import Sidecar
from xds_server.memo import no_memo
from xds_server.mesh.model import View
from xds_server.mesh.proxy import Interception, Proxy, ProxyKind
from xds_server.mesh.scope import EVERYTHING, HostFilter, Sidecars, scope, sidecars

CART = Proxy(ProxyKind.SIDECAR, "shop", (("app", "cart"),), interception=Interception.NONE)


def sidecar(name: str, namespace: str, spec: str, created: str = "2026-01-01T00:00:00Z") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{created}"}}
spec: {spec}
"""


def found(*texts: str, root: str = "istio-system") -> Sidecars:
    listed = [item for item in objects(*texts) if isinstance(item, Sidecar)]
    return sidecars(fixed({(item.metadata.namespace, item.metadata.name): item for item in listed}), no_memo, root)


SELECTING = sidecar("selecting", "shop", "{workloadSelector: {labels: {app: cart}}}")
OTHERS = sidecar("others", "shop", "{workloadSelector: {labels: {app: bank}}}")
OWN = sidecar("own", "shop", "{egress: [{hosts: ['./*']}]}")
ROOT = sidecar("root", "istio-system", "{egress: [{hosts: ['*/*']}]}")
ROOT_SELECTING = sidecar("root-selecting", "istio-system", "{workloadSelector: {labels: {app: cart}}}")


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        pytest.param([], None, id="nobody restricts it"),
        pytest.param([ROOT, OWN, SELECTING], "selecting", id="the one that selects it comes first"),
        pytest.param([ROOT, OWN, OTHERS], "own", id="then its namespace's"),
        pytest.param([ROOT, OTHERS], "root", id="then the root namespace's"),
        pytest.param([ROOT_SELECTING], None, id="in the root namespace a selector is for workloads there"),
        pytest.param([sidecar("far", "other", "{}")], None, id="another namespace's never"),
        pytest.param(
            [sidecar("younger", "shop", "{}", "2026-01-02T00:00:00Z"), sidecar("zoo", "shop", "{}")],
            "zoo",
            id="the oldest of two",
        ),
    ],
)
def test_which_sidecar_counts(texts: list[str], name: str | None) -> None:
    chosen = found(*texts).of(CART)
    assert (chosen.metadata.name if chosen else None) == name


def test_the_root_namespace_is_the_mesh_s() -> None:
    chosen = found(sidecar("root", "mesh-root", "{}"), root="mesh-root").of(CART)
    assert chosen is not None
    assert chosen.metadata.name == "root"


@pytest.mark.parametrize("selector", ["{}", "{workloadSelector: {labels: {app: cart}}}"])
def test_the_younger_of_two_for_the_same_workloads_is_named(selector: str) -> None:
    older, younger = sidecar("a", "shop", selector), sidecar("b", "shop", selector, "2026-01-02T00:00:00Z")
    notes = found(older, younger).diagnostics
    assert [(note.code, note.ref and note.ref.name) for note in notes] == [("XDS3011", "b")]


@pytest.mark.parametrize(
    ("filter_", "namespace", "host", "taken"),
    [
        pytest.param("*/*", "any", "web.any", True, id="everything"),
        pytest.param("./*", "shop", "web.shop", True, id="the own namespace"),
        pytest.param("./*", "other", "web.shop", False, id="and no other"),
        pytest.param("~/*", "shop", "web.shop", False, id="nothing"),
        pytest.param("data/*", "data", "db.data", True, id="a namespace"),
        pytest.param("*/*.example.com", "x", "a.example.com", True, id="a wildcard"),
        pytest.param("*/*.example.com", "x", "example.com", False, id="which is not the domain itself"),
        pytest.param("*/a.example.com", "x", "*.example.com", False, id="a part of a service is not the service"),
        pytest.param("x/A.example.com", "x", "a.example.com", True, id="case means nothing"),
    ],
)
def test_a_host_of_egress_takes(filter_: str, namespace: str, host: str, taken: bool) -> None:
    chosen = found(sidecar("own", "shop", f"{{egress: [{{hosts: ['{filter_}']}}]}}")).of(CART)
    [egress] = scope(chosen, "shop", True).egress
    assert egress.takes(namespace, host) is taken


def test_a_wildcard_virtual_service_meets_a_single_host() -> None:
    assert HostFilter("*", "a.example.com").meets("x", "*.example.com")
    assert not HostFilter("y", "*").meets("x", "*.example.com")


@pytest.mark.parametrize(
    ("spec", "mesh_allows", "allowed"),
    [
        pytest.param("{}", True, True, id="the mesh's setting"),
        pytest.param("{}", False, False, id="when it is the strict one, too"),
        pytest.param("{outboundTrafficPolicy: {mode: ALLOW_ANY}}", False, True, id="its own opens"),
        pytest.param("{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}", True, False, id="its own closes"),
        pytest.param("{outboundTrafficPolicy: {}}", True, False, id="without a mode it closes"),
    ],
)
def test_whether_strangers_are_let_through(spec: str, mesh_allows: bool, allowed: bool) -> None:
    chosen = found(sidecar("own", "shop", spec)).of(CART)
    assert scope(chosen, "shop", mesh_allows).allow_any is allowed
    assert scope(None, "shop", mesh_allows).egress == EVERYTHING.egress


def service(name: str, namespace: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{ports: [{{name: http, port: 80}}]}}
"""


def entry(host: str, namespace: str, more: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: entry, namespace: {namespace}}}
spec: {{hosts: [{host}], resolution: DNS, ports: [{{number: 80, name: http, protocol: HTTP}}]{more}}}
"""


def hosts(*texts: str) -> tuple[list[str], tuple[Diagnostic, ...]]:
    view, notes = seen(*texts, proxy=CART)
    return reached(view), notes


def reached(view: View) -> list[str]:
    return sorted({f"{backend.origins[0].ref.namespace}/{backend.host}" for backend in view.backends.values()})


WEB, FAR = "shop/web.shop.svc.cluster.local", "other/far.other.svc.cluster.local"
ROUTED = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: far.other.svc.cluster.local}}]}]}
"""


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param([OWN], [WEB], id="only what the Sidecar names"),
        pytest.param([OWN, ROUTED], [FAR], id="and where its routes lead, though it is not named"),
        pytest.param([], [FAR, WEB], id="everything without one"),
    ],
)
def test_what_a_sidecar_gets(texts: list[str], expected: list[str]) -> None:
    assert hosts(service("web", "shop"), service("far", "other"), *texts)[0] == expected


@pytest.mark.parametrize(
    ("hosts_of_egress", "expected"),
    [
        pytest.param("['*/*']", ["shop/api.example.com"], id="its own namespace's"),
        pytest.param("['b/*']", ["b/api.example.com"], id="of the namespace that it chose"),
        pytest.param("['c/*']", [], id="none when that has none"),
    ],
)
def test_a_host_of_several_namespaces(hosts_of_egress: str, expected: list[str]) -> None:
    texts = [entry("api.example.com", namespace) for namespace in ("a", "b", "shop")]
    assert hosts(*texts, sidecar("own", "shop", f"{{egress: [{{hosts: {hosts_of_egress}}}]}}"))[0] == expected


@pytest.mark.parametrize(
    ("wanted", "known"),
    [
        pytest.param("./web.shop.svc.cluster.local", True, id="a service"),
        pytest.param("*/*.shop.svc.cluster.local", True, id="some services"),
        pytest.param("nowhere/*", True, id="a namespace may be empty"),
        pytest.param("~/*", True, id="nothing is asked for"),
        pytest.param("./virtual.example.com", True, id="a host of a VirtualService"),
        pytest.param("./web", False, id="a short name"),
        pytest.param("other/web.shop.svc.cluster.local", False, id="another namespace"),
    ],
)
def test_hosts_that_nothing_has_are_named(wanted: str, known: bool) -> None:
    virtual = ROUTED.replace("hosts: [web]", "hosts: [virtual.example.com]")
    own = sidecar("own", "shop", f"{{egress: [{{hosts: ['*/far.other.svc.cluster.local', '{wanted}']}}]}}")
    _, notes = hosts(service("web", "shop"), service("far", "other"), virtual, own)
    found = [(note.code, note.path) for note in notes if note.code == "XDS2010"]
    assert found == ([] if known else [("XDS2010", ("spec", "egress", 0, "hosts", 1))])


def test_what_is_not_exported_is_not_seen() -> None:
    assert hosts(entry("api.example.com", "other", ", exportTo: ['.']"))[0] == []
