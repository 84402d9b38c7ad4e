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
        "spec: {http: [{}, {fault: {delay: {exponentialDelay: 1s}}}]}",
        [
            "XDS1007 spec.http[1].fault.delay.exponentialDelay: "
            "spec.http[1].fault.delay.exponentialDelay is not supported (use fixedDelay)"
        ],
    ),
    "a field of a traffic policy, wherever that stands": (
        DESTINATION_RULE,
        "spec: {host: h, trafficPolicy: {loadBalancer: {zoneAwareLbSetting: {enabled: true}}}, "
        "subsets: [{name: v, trafficPolicy: {retryBudget: {budgetInterval: 1s}}}]}",
        [
            "XDS1007 spec.trafficPolicy.loadBalancer.zoneAwareLbSetting: "
            "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting is not supported (use localityLbSetting)",
            "XDS1007 spec.subsets[0].trafficPolicy.retryBudget.budgetInterval: "
            "spec.subsets[0].trafficPolicy.retryBudget.budgetInterval is not supported "
            "(Envoy counts the requests of the moment)",
        ],
    ),
    "not the API's own default": (
        SERVICE,
        "spec: {externalTrafficPolicy: Cluster, allocateLoadBalancerNodePorts: true}",
        [],
    ),
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
