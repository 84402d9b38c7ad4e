"""What delivery relies on in the resources themselves (sections 5 and 10 of the specification's checklist)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.envoy_config import as_dict
from tests.objects import GRPC, SIDECAR, snapshot
from tests.protocol.client import CDS, EDS, RDS
from xds_server.memo import no_memo
from xds_server.mesh.proxy import EVERY_GATEWAY, Proxy
from xds_server.translate import translate

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
"""
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec: {selector: {a: b}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
"""
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s, namespace: default}
spec: {hosts: ["*"], gateways: [gw], http: [{match: [{uri: {prefix: /%s}}], route: [{destination: {host: web}}]}]}
"""


def resources(type_url: str, proxy: Proxy, *texts: str) -> list[dict[str, Any]]:
    found = translate(snapshot(*texts), proxy, no_memo).resources.by_type[type_url].values()
    return [as_dict(resource) for resource in found]


def endpoint(address: str, **conditions: bool) -> str:
    words = ", ".join(f"{name}: {str(value).lower()}" for name, value in conditions.items())
    return f"- {{addresses: [{address}], conditions: {{{words}}}}}\n"


def test_10_2_health_follows_the_conditions_of_an_endpoint() -> None:
    slices = (
        endpoint("10.0.0.1", ready=True)
        + endpoint("10.0.0.2", ready=False, serving=True, terminating=True)
        + endpoint("10.0.0.3", ready=False)
    )
    [assignment] = resources(EDS, SIDECAR, SERVICE + slices)
    found = {
        each["endpoint"]["address"]["socketAddress"]["address"]: each["healthStatus"]
        for part in assignment["endpoints"]
        for each in part["lbEndpoints"]
    }
    assert found == {"10.0.0.1": "HEALTHY", "10.0.0.2": "DRAINING"}


@pytest.mark.parametrize("proxy", [SIDECAR, GRPC], ids=["sidecar", "gRPC client"])
def test_p09_a_service_without_endpoints_has_an_empty_assignment(proxy: Proxy) -> None:
    [assignment] = resources(EDS, proxy, SERVICE + endpoint("10.0.0.3", ready=False))
    assert "endpoints" not in assignment


@pytest.mark.parametrize("proxy", [SIDECAR, GRPC], ids=["sidecar", "gRPC client"])
def test_10_1_no_cluster_asks_for_reports_of_its_load(proxy: Proxy) -> None:
    clusters = resources(CDS, proxy, SERVICE + endpoint("10.0.0.1", ready=True))
    assert clusters
    assert all("lrsServer" not in cluster for cluster in clusters)


def test_5_rds_a_domain_is_there_only_once() -> None:
    """Envoy refuses a second `*`: "Only a single wildcard domain is permitted"."""
    texts = (SERVICE + endpoint("10.0.0.1", ready=True), GATEWAY, ROUTES % ("a", "a"), ROUTES % ("b", "b"))
    [table] = resources(RDS, EVERY_GATEWAY, *texts)
    domains = Counter(domain for host in table["virtualHosts"] for domain in host["domains"])
    assert domains == {"*": 1}
