"""What annotations for a cloud's load balancer mean to the gateway behind it."""

from __future__ import annotations

import pytest

from tests.objects import seen
from xds_server.mesh.proxy import EVERY_GATEWAY, Proxy

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec: {selector: {app: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
"""
EDGE = Proxy(namespace="edge", labels=(("app", "edge"),))


def service(annotations: str, namespace: str = "edge") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: edge, namespace: {namespace}, annotations: {{{annotations}}}}}
spec: {{type: LoadBalancer, selector: {{app: edge}}, ports: [{{name: http, port: 80}}]}}
"""


AWS = "service.beta.kubernetes.io/aws-load-balancer-"
NLB = AWS + "proxy-protocol: '*'"


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        pytest.param("", False, id="nothing said"),
        pytest.param(NLB, True, id="an NLB"),
        pytest.param(AWS + "proxy-protocol: ''", False, id="an NLB that does not"),
        pytest.param(AWS + "target-group-attributes: 'a=b, proxy_protocol_v2.enabled=true'", True, id="its targets"),
        pytest.param(AWS + "target-group-attributes: proxy_protocol_v2.enabled=false", False, id="not its targets"),
        pytest.param("load-balancer.hetzner.cloud/uses-proxyprotocol: 'true'", True, id="Hetzner"),
        pytest.param("loadbalancer.openstack.org/proxy-protocol: v2", True, id="OpenStack"),
        pytest.param("loadbalancer.openstack.org/proxy-protocol: 'false'", False, id="OpenStack without"),
    ],
)
def test_proxy_headers_are_read_where_the_load_balancer_sends_them(annotations: str, expected: bool) -> None:
    view, _ = seen(GATEWAY, service(annotations), proxy=EDGE)
    assert [listener.proxy_protocol for listener in view.listeners.values()] == [expected]


@pytest.mark.parametrize(
    ("namespace", "proxy", "expected"),
    [
        pytest.param("edge", EVERY_GATEWAY, True, id="a gateway of any name"),
        pytest.param("other", EDGE, False, id="a Service of another namespace"),
    ],
)
def test_only_a_service_that_selects_the_gateway_counts(namespace: str, proxy: Proxy, expected: bool) -> None:
    view, _ = seen(GATEWAY, service(NLB, namespace), proxy=proxy)
    assert [listener.proxy_protocol for listener in view.listeners.values()] == [expected]


def test_what_is_the_clouds_business_is_named_once() -> None:
    _, notes = seen(service(AWS + "type: nlb, " + AWS + "ssl-cert: arn"))
    assert [note.code for note in notes] == ["XDS4032"]
    assert "ssl-cert" in notes[0].message
    assert "type" in notes[0].message
