from __future__ import annotations

import pytest

from tests.unit.kube.given import DESTINATION_RULE, SERVICE, SERVICE_ENTRY, VIRTUAL_SERVICE, decoded, told
from tests.unit.kube.schema import declared_type
from xds_server.catalogue import Level
from xds_server.kube.support import UNSUPPORTED

WARNED = {
    "a field with advice": (
        SERVICE_ENTRY,
        "spec: {hosts: [a], resolution: STATIC, endpoints: [{address: b, network: other}]}",
        [
            "XDS1007 spec.endpoints[0].network: spec.endpoints[0].network is not supported "
            "(the endpoints of every network are connected to directly)"
        ],
    ),
    "a field below a list": (
        VIRTUAL_SERVICE,
        "spec: {http: [{}, {delegate: {name: a}}]}",
        [
            "XDS1007 spec.http[1].delegate: spec.http[1].delegate is not supported "
            "(write the routes into this VirtualService)"
        ],
    ),
    "a field of a traffic policy, wherever that stands": (
        DESTINATION_RULE,
        "spec: {host: h, trafficPolicy: {tunnel: {targetHost: a, targetPort: 1}}, "
        "subsets: [{name: v, trafficPolicy: {proxyProtocol: {version: V1}}}]}",
        [
            "XDS1007 spec.trafficPolicy.tunnel: spec.trafficPolicy.tunnel is not supported",
            "XDS1007 spec.subsets[0].trafficPolicy.proxyProtocol: "
            "spec.subsets[0].trafficPolicy.proxyProtocol is not supported",
        ],
    ),
    "not the API's own default": (SERVICE, "spec: {externalTrafficPolicy: Cluster, allocateLoadBalancerNodePorts: true}", []),
    "not an empty value": (
        SERVICE_ENTRY,
        "spec: {hosts: [a], resolution: STATIC, endpoints: [{address: b, network: ''}]}",
        [],
    ),
}


@pytest.mark.parametrize(("kind", "body", "expected"), WARNED.values(), ids=WARNED)
def test_a_field_without_effect_is_named(kind: str, body: str, expected: list[str]) -> None:
    result = decoded(kind, body)
    assert result.object is not None, result.diagnostics
    assert [told(found) for found in result.diagnostics] == expected
    assert all(found.level is Level.WARNING for found in result.diagnostics)


def test_a_field_that_is_for_somebody_else_is_no_warning() -> None:
    result = decoded(SERVICE, "spec: {externalTrafficPolicy: Local}")
    assert [(told(found), found.level) for found in result.diagnostics] == [
        (
            "XDS1012 spec.externalTrafficPolicy: spec.externalTrafficPolicy is for the nodes (kube-proxy)",
            Level.INFO,
        )
    ]


@pytest.mark.parametrize(
    ("kind", "path"), [(kind, path) for (_, kind), fields in UNSUPPORTED.items() for path in fields]
)
def test_every_line_of_the_table_names_a_field_that_exists(kind: str, path: str) -> None:
    declared_type(kind, path)
