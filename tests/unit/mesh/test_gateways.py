"""What becomes of the servers of Gateways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from tests.objects import seen
from xds_server.mesh.hosts import most_specific
from xds_server.mesh.model import Http, Respond, Tcp, View
from xds_server.mesh.proxy import EVERY_GATEWAY, Proxy

FILES = "serverCertificate: a.crt, privateKey: a.key"
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec:
  hosts: ["*"]
  gateways: [edge]
  http: [{directResponse: {status: 200}}]
  tcp: [{route: [{destination: {host: web}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {ports: [{name: tcp, port: 80}]}
---
"""


def first(rows: Mapping[str, Any]) -> Any:
    return next(iter(rows.values()))


def server(protocol: str, hosts: str, tls: str = "", port: int = 8443) -> str:
    settings = f", tls: {{{tls}}}" if tls else ""
    return f"{{port: {{number: {port}, name: p, protocol: {protocol}}}, hosts: [{hosts}]{settings}}}"


def made(*servers: str, routes: str = ROUTES, proxy: Proxy = EVERY_GATEWAY) -> tuple[View, list[str]]:
    gateway = (
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: default}\n"
        f"spec: {{selector: {{app: edge}}, servers: [{', '.join(servers)}]}}\n---\n"
    )
    view, notes = seen(gateway + routes, proxy=proxy)
    return view, [f"{note.code} {'.'.join(map(str, note.path[1:]))}" for note in notes]


SETTINGS = {
    "files": (f"mode: SIMPLE, {FILES}", []),
    "no certificate": ("mode: SIMPLE", ["XDS5003 servers.0.tls"]),
    "no mode that ends TLS": ("mode: ISTIO_MUTUAL", ["XDS5004 servers.0.tls.mode"]),
    "a minimum above the maximum": (
        f"mode: SIMPLE, {FILES}, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_1",
        ["XDS5005 servers.0.tls.minProtocolVersion"],
    ),
    "an old maximum alone": (f"mode: SIMPLE, {FILES}, maxProtocolVersion: TLSV1_1", []),
    "only ciphers that there are not": (
        f"mode: SIMPLE, {FILES}, cipherSuites: [RC4]",
        ["XDS5006 servers.0.tls.cipherSuites.0"],
    ),
    "nobody to believe": (f"mode: MUTUAL, {FILES}", ["XDS5010 servers.0.tls"]),
    "a pin that is none": (
        f"mode: MUTUAL, {FILES}, verifyCertificateHash: [x]",
        ["XDS4011 servers.0.tls.verifyCertificateHash.0", "XDS5010 servers.0.tls"],
    ),
    "a redirect of what is encrypted": (
        f"mode: SIMPLE, {FILES}, httpsRedirect: true",
        ["XDS4009 servers.0.tls.httpsRedirect"],
    ),
    "checks of certificates that nobody asks for": (
        f"mode: SIMPLE, {FILES}, subjectAltNames: [a]",
        ["XDS4009 servers.0.tls.subjectAltNames"],
    ),
}


@pytest.mark.parametrize(("tls", "expected"), SETTINGS.values(), ids=SETTINGS)
def test_tls_settings(tls: str, expected: list[str]) -> None:
    view, notes = made(server("HTTPS", "a.test", tls))
    assert notes == expected
    refused = any(note.startswith("XDS5") for note in notes)
    assert bool(view.listeners) is not refused


def test_servers_with_the_same_tls_share_chain_and_routes() -> None:
    tls = f"mode: SIMPLE, {FILES}"
    view, notes = made(server("HTTPS", "a.test", tls), server("HTTPS", "b.test", tls))
    [chain] = first(view.listeners).chains
    assert chain.match.server_names == ("a.test", "b.test")
    assert [host.domains for host in first(view.route_tables).virtual_hosts] == [("a.test",), ("b.test",)]
    assert notes == []


def test_a_host_of_another_certificate_is_answered_421() -> None:
    one, other = f"mode: SIMPLE, {FILES}", "mode: SIMPLE, serverCertificate: b.crt, privateKey: b.key"
    view, _ = made(server("HTTPS", '"*.test"', one), server("HTTPS", "b.test", other))
    answers = [
        {domain: host.routes[0].action for host in table.virtual_hosts for domain in host.domains}
        for table in view.route_tables.values()
    ]
    statuses = [
        {domain: action.status for domain, action in found.items() if isinstance(action, Respond)} for found in answers
    ]
    assert statuses == [{"*.test": 200, "b.test": 421, "*": 421}, {"b.test": 200, "*": 421}]


def test_a_host_that_another_has_is_named_by_its_place_among_all_that_are_written() -> None:
    one, other = f"mode: SIMPLE, {FILES}", "mode: SIMPLE, serverCertificate: b.crt, privateKey: b.key"
    _, notes = made(server("HTTPS", "a.test", one), server("HTTPS", '"a.*.b", a.test, c.test', other))
    assert notes == ["XDS4011 servers.1.hosts.0", "XDS3008 servers.1.hosts.1"]


def test_of_a_server_that_cannot_share_its_port_nothing_else_is_said_or_given() -> None:
    missing = "mode: SIMPLE, credentialName: missing"
    view, notes = made(server("HTTP", "a.test"), server("HTTPS", "b.test", missing))
    assert notes == ["XDS3006 servers.1.port"]
    view, notes = made(server("HTTP", "a.test"), server("HTTPS", "b.test", f"mode: SIMPLE, {FILES}"))
    assert notes == ["XDS3006 servers.1.port"]
    assert dict(view.secrets) == {}


def test_the_same_host_twice_is_served_by_the_first() -> None:
    one, other = f"mode: SIMPLE, {FILES}", "mode: SIMPLE, serverCertificate: b.crt, privateKey: b.key"
    view, notes = made(server("HTTPS", "a.test", one), server("HTTPS", "a.test, b.test", other))
    assert notes == ["XDS3008 servers.1.hosts.0"]
    assert [chain.match.server_names for chain in first(view.listeners).chains] == [
        ("a.test",),
        ("b.test",),
    ]


def test_a_server_that_nothing_is_bound_to_is_told() -> None:
    view, notes = made(server("TCP", "a.test", port=9000), routes="")
    assert (list(view.listeners), notes) == ([], ["XDS4025 servers.0"])


def test_one_tcp_route_takes_all_connections_of_a_port() -> None:
    second = ROUTES.partition("---")[0].replace("name: web,", "name: z,").replace("host: web", "host: other")
    view, notes = made(server("TCP", '"*"', port=9000), routes=ROUTES + second)
    [chain] = first(view.listeners).chains
    assert isinstance(chain.traffic, Tcp)
    assert "XDS3010 tcp.0" in notes


def test_every_port_and_subset_is_passed_on_by_its_own_server_name() -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec: {host: web, subsets: [{name: v1}]}
"""
    view, _ = made(server("TLS", '"*.local"', "mode: AUTO_PASSTHROUGH"), routes=ROUTES + rule)
    host = "web.default.svc.cluster.local"
    expected = [f"outbound_.80_._.{host}", f"outbound_.80_.v1_.{host}"]
    assert [chain.match.server_names for chain in first(view.listeners).chains] == [(name,) for name in expected]
    assert sorted(view.backends) == expected
    assert all(backend.policy.tls is None for backend in view.backends.values())


def test_a_name_names_the_counters() -> None:
    named = server("HTTP", '"*"', port=8080).replace("{port:", "{name: shop, port:", 1)
    view, _ = made(named)
    traffic = first(view.listeners).chains[0].traffic
    assert isinstance(traffic, Http)
    assert traffic.stat_prefix == "shop"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("a.b.test", "*.b.test"), ("b.test", "*.test"), ("x.test", "x.test"), ("other", "*"), ("*.b.test", "*.b.test")],
)
def test_the_most_specific_of_several_hosts(host: str, expected: str) -> None:
    assert most_specific(host, ["*", "*.test", "*.b.test", "x.test"]) == expected


SIMPLE = f"mode: SIMPLE, {FILES}"
UDP = "protocol: UDP, targetPort: 9443"
QUIC = {
    "the port is UDP too": ("HTTPS", SIMPLE, f"port: 8443, {UDP}", [9443], []),
    "whatever its name": ("HTTPS", SIMPLE, f"name: dns, port: 8443, {UDP}", [9443], []),
    "without a target port of its own": ("HTTPS", SIMPLE, "port: 8443, protocol: UDP", [8443], []),
    "with client certificates": (
        "HTTPS",
        f"mode: MUTUAL, {FILES}, caCertificates: ca",
        f"port: 8443, {UDP}",
        [9443],
        [],
    ),
    "not when another port is UDP": ("HTTPS", SIMPLE, f"port: 443, {UDP}", [], []),
    "not when the port is TCP alone": ("HTTPS", SIMPLE, "port: 8443", [], []),
    "not below TLS 1.3": (
        "HTTPS",
        f"{SIMPLE}, maxProtocolVersion: TLSV1_2",
        f"port: 8443, {UDP}",
        [],
        ["XDS5011 servers.0.tls.maxProtocolVersion"],
    ),
    "up to TLS 1.3": ("HTTPS", f"{SIMPLE}, maxProtocolVersion: TLSV1_3", f"port: 8443, {UDP}", [9443], []),
    "not when TCP is inside of the TLS": ("TLS", SIMPLE, f"port: 8443, {UDP}", [], []),
    "not when the TLS is passed through": (
        "HTTPS",
        "mode: PASSTHROUGH",
        f"port: 8443, {UDP}",
        [],
        ["XDS4025 servers.0"],
    ),
    "not without TLS": ("HTTP", "", f"port: 8443, {UDP}", [], []),
}


def selecting(*ports: str) -> str:
    """A Service that selects the gateway."""
    return (
        "apiVersion: v1\nkind: Service\nmetadata: {name: edge, namespace: default}\n"
        f"spec: {{selector: {{app: edge}}, ports: [{', '.join(f'{{{port}}}' for port in ports)}]}}\n"
    )


@pytest.mark.parametrize(("protocol", "tls", "port", "expected", "notes"), QUIC.values(), ids=QUIC)
def test_a_server_is_served_over_quic_too_when(
    protocol: str, tls: str, port: str, expected: list[int], notes: list[str]
) -> None:
    view, found = made(server(protocol, "a.test", tls), routes=ROUTES + selecting(port))
    twins = [listener for listener in view.listeners.values() if listener.quic]
    assert [(each.name, each.port) for each in twins] == [(f"udp_0.0.0.0_{number}", number) for number in expected]
    assert [note for note in found if not note.startswith("XDS4001")] == notes
    told = {host.http3_port for table in view.route_tables.values() for host in table.virtual_hosts}
    assert told <= ({8443} if expected else {0})


def test_only_hosts_that_are_served_over_quic_are_said_to_be() -> None:
    old = f"{SIMPLE}, maxProtocolVersion: TLSV1_2"
    service = selecting("port: 8443, name: tcp, targetPort: 10443", f"port: 8443, name: udp, {UDP}")
    view, _ = made(server("HTTPS", "a.test", SIMPLE), server("HTTPS", "b.test", old), routes=ROUTES + service)
    told = {host.name: host.http3_port for table in view.route_tables.values() for host in table.virtual_hosts}
    assert told == {"a.test:10443": 8443, "b.test:10443": 0, "misdirected:10443": 0}
    [twin] = [listener for listener in view.listeners.values() if listener.quic]
    assert [(chain.match.server_names, chain.tls and chain.tls.alpn) for chain in twin.chains] == [
        (("a.test",), ("h3",))
    ]


def test_an_unprivileged_proxy_cannot_open_a_low_udp_port() -> None:
    service = selecting("port: 8443, name: tcp", "port: 8443, name: udp, protocol: UDP, targetPort: 443")
    proxy = replace(EVERY_GATEWAY, unprivileged=True)
    view, notes = made(server("HTTPS", "a.test", SIMPLE), routes=ROUTES + service, proxy=proxy)
    assert [listener.name for listener in view.listeners.values()] == ["0.0.0.0_8443"]
    assert "XDS4012 servers.0.port.number" in notes


def test_a_virtual_service_that_two_servers_of_a_port_take_keeps_its_order() -> None:
    routes = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec:
  hosts: [a.test]
  gateways: [edge]
  http:
  - {match: [{uri: {prefix: /x}}], directResponse: {status: 200}}
  - {match: [{uri: {exact: /y}}], directResponse: {status: 201}}
"""
    same = server("HTTP", '"*"', port=8080)
    view, notes = made(same, same, routes=routes)
    [host] = first(view.route_tables).virtual_hosts
    assert [route.match.path.value for route in host.routes] == ["/x", "/y"]
    assert notes == []
