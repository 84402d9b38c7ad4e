"""Endpoints -> load assignment (`envoy.config.endpoint.v3.ClusterLoadAssignment`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any

from envoy.config.endpoint.v3 import endpoint_pb2

from xds_server.envoy.proto import address, wrapped
from xds_server.envoy.resource import ENDPOINT, Resource, sealed
from xds_server.mesh.model import BackendEndpoints, Endpoint, Health, LocalityWeights

_HEALTH: Mapping[Health, str] = {
    Health.HEALTHY: "HEALTHY",
    Health.UNHEALTHY: "UNHEALTHY",
    Health.DRAINING: "DRAINING",
}


_PLACE = attrgetter("priority", "locality")


def load_assignment(endpoints: BackendEndpoints) -> Resource:
    """Without endpoints it is empty, which is not the same as missing: Envoy then answers 503 at once, and does
    not wait for it or keep the endpoints of before (https://github.com/envoyproxy/envoy/issues/13009)."""
    message = endpoint_pb2.ClusterLoadAssignment(
        cluster_name=endpoints.name, endpoints=localities(endpoints.endpoints, endpoints.locality_weights)
    )
    return sealed(ENDPOINT, endpoints.name, message, endpoints.origins)


def localities(endpoints: Iterable[Endpoint], weights: LocalityWeights = ()) -> list[dict[str, Any]]:
    """LocalityLbEndpoints, sorted by priority and locality. A locality weighs as much as its endpoints, unless
    `weights` says otherwise. gRPC skips one without a weight, and refuses one without a locality message, be it empty.
    """
    given = dict(weights)
    return [
        {
            "locality": {"region": locality.region, "zone": locality.zone, "sub_zone": locality.subzone},
            "lb_endpoints": [_endpoint(endpoint) for endpoint in members],
            "load_balancing_weight": wrapped(given.get(locality) or sum(endpoint.weight for endpoint in members)),
            "priority": priority,
        }
        for (priority, locality), group in groupby(sorted(endpoints, key=_PLACE), _PLACE)
        for members in [sorted(group)]
    ]


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "endpoint": {
            "address": address(endpoint.address, endpoint.port),
            "additional_addresses": [{"address": address(ip, endpoint.port)} for ip in endpoint.more_addresses],
        },
        "health_status": _HEALTH[endpoint.health],
        "load_balancing_weight": wrapped(endpoint.weight),
    }
