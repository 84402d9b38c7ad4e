"""Rules that are one small function each."""

from __future__ import annotations

import pytest

from xds_server.mesh import checks
from xds_server.mesh.header_format import header_value
from xds_server.mesh.hosts import narrower
from xds_server.mesh.model import Protocol
from xds_server.mesh.protocols import port_protocol
from xds_server.mesh.visibility import exported_to, visible


@pytest.mark.parametrize(
    ("number", "name", "transport", "app", "expected"),
    [
        pytest.param(80, "", "TCP", "", Protocol.AUTO, id="nothing said is found out"),
        pytest.param(80, "http", "TCP", "", Protocol.HTTP, id="the name alone"),
        pytest.param(80, "http-web", "TCP", "", Protocol.HTTP, id="the prefix of the name"),
        pytest.param(80, "httpx", "TCP", "", Protocol.AUTO, id="a prefix ends at a dash"),
        pytest.param(80, "GRPC-api", "TCP", "", Protocol.GRPC, id="case does not matter"),
        pytest.param(80, "grpc-web-x", "TCP", "", Protocol.GRPC, id="grpc-web is gRPC"),
        pytest.param(80, "https", "TCP", "", Protocol.TLS, id="https is TLS to us"),
        pytest.param(80, "tcp", "TCP", "http", Protocol.HTTP, id="appProtocol wins over the name"),
        pytest.param(80, "tcp", "TCP", "kubernetes.io/h2c", Protocol.HTTP2, id="the names of Kubernetes"),
        pytest.param(80, "redis", "TCP", "example.com/custom", Protocol.TCP, id="an unknown appProtocol says nothing"),
        pytest.param(80, "http", "TCP", "postgresql", Protocol.TCP, id="a name of IANA that is no HTTP"),
        pytest.param(80, "", "TCP", "http-custom", Protocol.HTTP, id="appProtocol is read as a name is"),
        pytest.param(80, "tcp", "TCP", "kubernetes.io/wss", Protocol.TLS, id="websockets over TLS"),
        pytest.param(80, "postgres-ui", "TCP", "", Protocol.AUTO, id="such a name of a port says nothing"),
        pytest.param(3306, "", "TCP", "", Protocol.TCP, id="MySQL speaks first"),
        pytest.param(587, "mail", "TCP", "", Protocol.TCP, id="SMTP speaks first, whatever the port is called"),
        pytest.param(3306, "http", "TCP", "", Protocol.HTTP, id="but a name wins over the number"),
        pytest.param(53, "dns", "UDP", "", Protocol.UDP, id="UDP"),
        pytest.param(80, "http", "SCTP", "", Protocol.UDP, id="SCTP is not TCP"),
    ],
)
def test_port_protocol(number: int, name: str, transport: str, app: str, expected: Protocol) -> None:
    assert port_protocol(number, name, transport, app) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a.example.com", "a.example.com", "a.example.com"),
        ("*.example.com", "a.example.com", "a.example.com"),
        ("a.example.com", "*", "a.example.com"),
        ("*.example.com", "*.b.example.com", "*.b.example.com"),
        ("*.example.com", "example.com", None),
        ("*.example.com", "*.example.org", None),
        ("a.example.com", "b.example.com", None),
    ],
)
def test_the_narrower_of_two_hosts(one: str, other: str, expected: str | None) -> None:
    assert narrower(one, other) == expected
    assert narrower(other, one) == expected


@pytest.mark.parametrize(
    ("values", "sees", "does_not_see"),
    [
        pytest.param((), "anyone", None, id="nothing said: everybody"),
        pytest.param(("*",), "anyone", None, id="a star: everybody"),
        pytest.param((".", "*"), "anyone", None, id="a star wins in a list"),
        pytest.param((".",), "own", "other", id="a dot: the own namespace"),
        pytest.param(("friend",), "friend", "own", id="a name: that namespace alone"),
        pytest.param(("~",), None, "own", id="a tilde: nobody"),
    ],
)
def test_export_to(values: tuple[str, ...], sees: str | None, does_not_see: str | None) -> None:
    exported = exported_to(values, "own")
    assert sees is None or visible(exported, sees)
    assert does_not_see is None or not visible(exported, does_not_see)


@pytest.mark.parametrize(
    "good", ["plain", "%REQ(x-id)%", "50%%", "%START_TIME(%s)%", "a %PROTOCOL% b", "%REQ(a?b):10%"]
)
def test_header_values_that_envoy_takes(good: str) -> None:
    assert header_value(good) is None


@pytest.mark.parametrize(
    "bad",
    [
        "100%",
        "%BOGUS%",
        "%REQ(x",
        "line\nbreak",
        "%%%",
        "%REQ%",
        "%REQ()%",
        "%PROTOCOL(x)%",
        "%RESPONSE_CODE:3%",
        "%REQ(a b)%",
        "%METADATA(NOPE:a)%",
        "%GRPC_STATUS(X)%",
    ],
)
def test_header_values_that_envoy_refuses(bad: str) -> None:
    assert header_value(bad) is not None


@pytest.mark.parametrize("bad", ["(?=x)", "a{1001}", "(", "[", "x" * 1025])
def test_expressions_that_envoy_refuses(bad: str) -> None:
    assert checks.regex(bad) is not None


def test_an_expression_of_re2_is_taken() -> None:
    assert checks.regex(r"/v\d+/(?P<rest>.*)") is None
    assert checks.groups(r"/v(\d+)/(?P<rest>.*)") == 2
