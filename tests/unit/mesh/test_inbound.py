"""A sidecar's way in: the ports of the workload."""

from __future__ import annotations

import pytest

from tests.unit.mesh.sidecars import inbound, sidecar, view_of
from xds_server.mesh.model import Backend, Discovery, Listener, View

REST = ["http? -> routes InboundPassthroughCluster", "else -> InboundPassthroughCluster"]
LOOP = ":15006 -> closed"


def service(name: str, ports: str, created: str = "2026-01-01T00:00:00Z", namespace: str = "shop") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{created}"}}
spec: {{selector: {{app: cart}}, ports: [{ports}]}}
"""


POD = """
apiVersion: v1
kind: Pod
metadata: {name: cart-1, namespace: shop, labels: {app: cart}}
spec: {containers: [{name: app, image: cart, ports: [{name: web, containerPort: 8080}]}]}
status: {phase: Running, podIP: 10.1.0.1}
"""
ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: machine, namespace: shop}
spec:
  hosts: [machine.example.com]
  resolution: STATIC
  workloadSelector: {labels: {app: cart}}
  ports: [{number: 9000, name: any, protocol: TCP, targetPort: 9001}]
"""


def with_sidecar(ingress: str, more: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: own, namespace: shop}}
spec: {{ingress: {ingress}{more}}}
"""


SERVICES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "HTTP": ([service("a", "{name: http, port: 80, targetPort: 8080}")], [":8080 -> routes inbound|8080||"], []),
    "what may be HTTP": (
        [service("a", "{name: unsaid, port: 80}")],
        [":80 http? -> routes inbound|80||", ":80 -> inbound|80||"],
        [],
    ),
    "TCP": ([service("a", "{name: tcp, port: 80}")], [":80 -> inbound|80||"], []),
    "TLS is passed on unopened": ([service("a", "{name: https, port: 443}")], [":443 -> inbound|443||"], []),
    "UDP is not the proxy's": ([service("a", "{name: dns, port: 53, protocol: UDP}")], [], ["XDS4001 a"]),
    "a port that the Pod names": (
        [POD, service("a", "{name: http, port: 80, targetPort: web}")],
        [":8080 -> routes inbound|8080||"],
        [],
    ),
    "a port that nobody names": ([service("a", "{name: http, port: 80, targetPort: web}")], [], ["XDS2009 a"]),
    "two services of one port": (
        [
            service("a", "{name: tcp, port: 80}", "2026-01-02T00:00:00Z"),
            service("b", "{name: http, port: 8000, targetPort: 80}"),
        ],
        [":80 -> routes inbound|80||"],
        ["XDS3012 a"],
    ),
    "a port of redirection": ([service("a", "{name: http, port: 80, targetPort: 15006}")], [], ["XDS3013 a"]),
    "a ServiceEntry that selects it": ([POD, ENTRY], [":9001 -> inbound|9001||"], []),
    "a Service of another namespace does not": ([service("a", "{name: http, port: 80}", namespace="other")], [], []),
}


@pytest.mark.parametrize("case", SERVICES)
def test_ports_of_services(case: str) -> None:
    texts, expected, notes = SERVICES[case]
    view, said = view_of(*texts, proxy=sidecar())
    assert inbound(view) == {"virtualInbound": [LOOP, *expected, *REST]}
    assert [note for note in said if note not in ("XDS4015 a", "XDS4015 b")] == notes


def test_without_redirection_the_workload_opens_its_own_ports() -> None:
    view, _ = view_of(service("a", "{name: http, port: 80}"), proxy=sidecar("NONE"))
    assert inbound(view) == {}


def virtual_inbound(view: View) -> Listener:
    [found] = [each for each in view.listeners.values() if each.name == "virtualInbound"]
    return found


def test_nothing_waits_where_the_server_may_speak_first() -> None:
    ports = "{name: tcp, port: 5000}, {name: http, port: 25}, {name: unsaid, port: 5001}"
    silent = virtual_inbound(view_of(service("a", ports), proxy=sidecar())[0]).silent_ports
    assert 5000 in silent
    assert 3306 in silent, "a MySQL that no Service declares"
    assert {25, 5001}.isdisjoint(silent), "declared to be HTTP, or perhaps HTTP"


@pytest.mark.parametrize(("interception", "source"), [("REDIRECT", "127.0.0.6"), ("TPROXY", "")])
def test_whom_the_workload_sees(interception: str, source: str) -> None:
    view, _ = view_of(service("a", "{name: http, port: 80}"), proxy=sidecar(interception))
    sources = {each.name: each.source_address for each in view.backends.values()}
    assert (sources["InboundPassthroughCluster"], sources["inbound|80||"]) == (source, source)
    assert virtual_inbound(view).transparent is (interception == "TPROXY")


def backend(view: View) -> Backend:
    [found] = [each for each in view.backends.values() if each.name.startswith("inbound")]
    return found


WHERE: dict[str, tuple[str, str, tuple[Discovery, str, int, int]]] = {
    "on loopback": ("REDIRECT", "127.0.0.1:8080", (Discovery.FIXED, "127.0.0.1", 8080, 0)),
    "on IPv6 loopback": ("REDIRECT", "'[::1]:8080'", (Discovery.FIXED, "::1", 8080, 0)),
    "on a socket": ("REDIRECT", "'unix:///run/app'", (Discovery.FIXED, "/run/app", 0, 0)),
    "where the client wanted to go": ("REDIRECT", "0.0.0.0:9080", (Discovery.ORIGINAL_DESTINATION, "", 0, 0)),
    "there, at another port": ("REDIRECT", "0.0.0.0:8080", (Discovery.ORIGINAL_DESTINATION, "", 0, 8080)),
    "nothing said": ("REDIRECT", "''", (Discovery.ORIGINAL_DESTINATION, "", 0, 0)),
    "any address is this machine without redirection": (
        "NONE",
        "0.0.0.0:8080",
        (Discovery.FIXED, "127.0.0.1", 8080, 0),
    ),
    "of IPv6 too": ("NONE", "'[::]:8080'", (Discovery.FIXED, "::1", 8080, 0)),
}


@pytest.mark.parametrize("case", WHERE)
def test_where_the_workload_listens(case: str) -> None:
    interception, endpoint, expected = WHERE[case]
    ingress = f"[{{port: {{number: 9080, protocol: HTTP, name: http}}, defaultEndpoint: {endpoint}}}]"
    made = backend(view_of(with_sidecar(ingress), proxy=sidecar(interception))[0])
    fixed = made.fixed[0] if made.fixed else None
    assert (made.discovery, fixed.address if fixed else "", fixed.port if fixed else 0, made.port.target) == expected


TLS = "tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k}"
INGRESS: dict[str, tuple[str, str, dict[str, list[str]], list[str]]] = {
    "its ports are the only ones": (
        "REDIRECT",
        "[{port: {number: 9080, protocol: HTTP, name: http}, defaultEndpoint: 127.0.0.1:80}]",
        {"virtualInbound": [LOOP, ":9080 -> routes inbound|9080||", *REST]},
        [],
    ),
    "a port of its own": (
        "REDIRECT",
        "[{port: {number: 9080, protocol: TCP, name: tcp}, defaultEndpoint: 127.0.0.1:80, captureMode: NONE}]",
        {"0.0.0.0_9080": ["all -> inbound|9080||"], "virtualInbound": [LOOP, *REST]},
        [],
    ),
    "a port of its own at an address": (
        "NONE",
        "[{port: {number: 9080, protocol: TCP, name: tcp}, defaultEndpoint: 127.0.0.1:80, bind: 192.0.2.1}]",
        {"192.0.2.1_9080": ["all -> inbound|9080||"]},
        [],
    ),
    "which means nothing to redirected clients": (
        "REDIRECT",
        "[{port: {number: 9080, protocol: TCP, name: tcp}, bind: 192.0.2.1}]",
        {"virtualInbound": [LOOP, ":9080 -> inbound|9080||", *REST]},
        ["XDS4009 own"],
    ),
    "a port of its own leads somewhere": (
        "NONE",
        "[{port: {number: 9080, protocol: TCP, name: tcp}}]",
        {},
        ["XDS4016 own"],
    ),
    "a protocol that there is not": (
        "NONE",
        "[{port: {number: 9080, protocol: GOPHER, name: x}, defaultEndpoint: 127.0.0.1:80}]",
        {"0.0.0.0_9080": ["all -> inbound|9080||"]},
        ["XDS4003 own"],
    ),
    "requests in TLS": (
        "REDIRECT",
        f"[{{port: {{number: 9443, protocol: HTTPS, name: https}}, defaultEndpoint: 127.0.0.1:80, {TLS}}}]",
        {"virtualInbound": [LOOP, ":9443 -> routes inbound|9443||", *REST]},
        [],
    ),
    "connections in TLS": (
        "NONE",
        f"[{{port: {{number: 9443, protocol: TLS, name: tls}}, defaultEndpoint: 127.0.0.1:80, {TLS}}}]",
        {"0.0.0.0_9443": ["all -> tls inbound|9443||"]},
        [],
    ),
    "TLS that cannot be ended is not left out": (
        "NONE",
        "[{port: {number: 9443, protocol: TLS, name: tls}, defaultEndpoint: 127.0.0.1:80, tls: {mode: SIMPLE}}]",
        {"0.0.0.0_9443": ["all -> closed"]},
        ["XDS5003 own"],
    ),
}


@pytest.mark.parametrize("case", INGRESS)
def test_ingress_of_a_sidecar(case: str) -> None:
    interception, ingress, expected, notes = INGRESS[case]
    view, said = view_of(with_sidecar(ingress), proxy=sidecar(interception))
    assert (inbound(view), said) == (expected, notes)


def test_an_unprivileged_proxy_opens_no_low_port() -> None:
    ingress = "[{port: {number: 80, protocol: HTTP, name: http}, defaultEndpoint: 127.0.0.1:8080}]"
    view, said = view_of(with_sidecar(ingress), proxy=sidecar("NONE", unprivileged=True))
    assert (inbound(view), said) == ({}, ["XDS4012 own"])


def test_limits_of_the_workload() -> None:
    ingress = (
        "[{port: {number: 1000, name: a}, connectionPool: {tcp: {maxConnections: 5}}, defaultEndpoint: 127.0.0.1:1},"
        " {port: {number: 1001, name: b}, defaultEndpoint: 127.0.0.1:1}]"
    )
    pool = ", inboundConnectionPool: {tcp: {maxConnections: 9}}"
    view, _ = view_of(with_sidecar(ingress, pool), proxy=sidecar())
    limits = {each.name: each.policy.connections.max_connections for each in view.backends.values()}
    assert (limits["inbound|1000||"], limits["inbound|1001||"]) == (5, 9)
    view, _ = view_of(with_sidecar("[]", pool), service("a", "{name: http, port: 80}"), proxy=sidecar())
    assert {
        each.policy.connections.max_connections for each in view.backends.values() if each.name == "inbound|80||"
    } == {9}


def test_a_port_of_its_own_comes_before_a_service_of_others() -> None:
    ingress = "[{port: {number: 80, protocol: HTTP, name: h}, bind: 127.0.0.1, defaultEndpoint: 127.0.0.1:8080}]"
    view, said = view_of(with_sidecar(ingress), service("a", "{name: http, port: 80}"), proxy=sidecar("NONE"))
    assert [each.direction.value for each in view.listeners.values()] == ["inbound"]
    assert said == ["XDS3013 a"]
