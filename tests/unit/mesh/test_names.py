"""Names of xDS resources, and that each can be taken apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.mesh import names

LABEL = st.from_regex(r"\A[a-z]([-a-z0-9]{0,8}[a-z0-9])?\Z")
HOST = st.lists(LABEL, min_size=1, max_size=5).map(".".join)
PORT = st.integers(1, 65535)


@given(PORT, st.just("") | LABEL, HOST)
def test_a_cluster_name_has_an_inverse(port: int, subset: str, host: str) -> None:
    assert names.parse_cluster(names.outbound(port, subset, host)) == ("outbound", port, subset, host)


@given(PORT, st.just("") | st.ip_addresses().map(str))
def test_the_name_of_plaintext_gateway_routes_has_an_inverse(port: int, bind: str) -> None:
    routes = names.GatewayRoutes(port, bind)
    assert names.parse_gateway_routes(str(routes)) == routes


@given(PORT, LABEL, LABEL, LABEL, st.just("") | st.ip_addresses(v=4).map(str))
def test_the_name_of_https_gateway_routes_has_an_inverse(
    port: int, port_name: str, gateway: str, namespace: str, bind: str
) -> None:
    routes = names.GatewayRoutes(port, bind, port_name, gateway, namespace)
    assert names.parse_gateway_routes(str(routes)) == routes


@given(LABEL, st.just("") | LABEL, st.booleans())
def test_the_name_of_a_credential_has_an_inverse(name: str, namespace: str, authorities: bool) -> None:
    credential = names.Credential(name, namespace, authorities)
    assert names.parse_credential(str(credential)) == credential


@given(st.ip_addresses().map(str), PORT)
def test_the_name_of_a_listener_has_an_inverse(address: str, port: int) -> None:
    assert names.parse_listener(names.listener(address, port)) == (address, port)
    assert names.parse_listener(names.quic_listener(address, port)) == (address, port)


@given(HOST, PORT)
def test_the_name_of_a_virtual_host_has_an_inverse(host: str, port: int) -> None:
    assert names.parse_virtual_host(names.virtual_host(host, port)) == (host, port)


@pytest.mark.parametrize("text", ["tcp.80", "http.x", "mysecret", "https.443.a"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        names.parse_gateway_routes(text)


@pytest.mark.parametrize(
    ("host", "namespace", "expected"),
    [
        ("reviews", "prod", "reviews.prod.svc.cluster.local"),
        ("Reviews", "prod", "reviews.prod.svc.cluster.local"),
        ("api.example.com", "prod", "api.example.com"),
        ("*", "prod", "*"),
    ],
    ids=["a short name means a service here", "case does not matter", "a dot makes a full name", "a wildcard stays"],
)
def test_a_host_is_read_in_its_namespace(host: str, namespace: str, expected: str) -> None:
    assert names.full_host(host, namespace) == expected


@pytest.mark.parametrize(
    ("host", "namespace", "expected"),
    [
        ("a.prod.svc.cluster.local", "prod", ("a.prod.svc", "a.prod", "a")),
        ("a.prod.svc.cluster.local", "test", ("a.prod.svc", "a.prod")),
        ("api.example.com", "prod", ()),
    ],
    ids=[
        "in its own namespace the name alone will do",
        "elsewhere it needs its namespace",
        "others have no short name",
    ],
)
def test_short_hosts(host: str, namespace: str, expected: tuple[str, ...]) -> None:
    assert names.short_hosts(host, namespace) == expected


@given(PORT, st.ip_addresses().map(str))
def test_the_name_of_a_grpc_server_has_an_inverse(port: int, address: str) -> None:
    assert names.parse_grpc_server(names.grpc_server(address, port)) == (address, port)
