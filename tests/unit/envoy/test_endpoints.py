"""Endpoints as load assignments."""

from __future__ import annotations

from random import Random

from tests.envoy_config import as_dict
from tests.unit.envoy.full import EVERYWHERE, MORE
from xds_server.envoy.endpoints import load_assignment
from xds_server.mesh.model import BackendEndpoints, Endpoint


def assigned(*endpoints: Endpoint) -> BackendEndpoints:
    return BackendEndpoints("a", endpoints, MORE)


def test_endpoints_are_grouped_by_locality_which_weighs_as_much_as_they_do() -> None:
    groups = as_dict(load_assignment(assigned(*EVERYWHERE)))["endpoints"]
    assert [(group["locality"], group["loadBalancingWeight"], len(group["lbEndpoints"])) for group in groups] == [
        ({}, 2, 2),
        ({"region": "r1", "zone": "z1", "subZone": "s1"}, 4, 2),
        ({"region": "r1", "zone": "z2"}, 2, 1),
    ]


def test_an_endpoint_has_its_address_health_and_weight() -> None:
    endpoints = [
        each for group in as_dict(load_assignment(assigned(*EVERYWHERE)))["endpoints"] for each in group["lbEndpoints"]
    ]
    assert [(each["endpoint"]["address"], each["healthStatus"], each["loadBalancingWeight"]) for each in endpoints] == [
        ({"pipe": {"path": "/run/web.sock"}}, "HEALTHY", 1),
        ({"socketAddress": {"address": "2001:db8::1", "portValue": 8080}}, "HEALTHY", 1),
        ({"socketAddress": {"address": "10.0.0.1", "portValue": 8080}}, "HEALTHY", 1),
        ({"socketAddress": {"address": "10.0.0.2", "portValue": 8080}}, "UNHEALTHY", 3),
        ({"socketAddress": {"address": "10.0.1.1", "portValue": 8080}}, "DRAINING", 2),
    ]


def test_no_endpoints_are_an_empty_assignment_and_not_a_missing_one() -> None:
    assert as_dict(load_assignment(assigned())) == {"clusterName": "a"}


def test_the_order_of_the_endpoints_makes_no_difference() -> None:
    shuffled = list(EVERYWHERE)
    Random(7).shuffle(shuffled)
    assert shuffled != list(EVERYWHERE)
    assert load_assignment(assigned(*shuffled)).body == load_assignment(assigned(*EVERYWHERE)).body
