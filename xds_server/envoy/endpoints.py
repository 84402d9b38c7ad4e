"""Endpoints -> load assignment (`envoy.config.endpoint.v3.ClusterLoadAssignment`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any

from envoy.config.endpoint.v3 import endpoint_pb2

from xds_server.envoy.proto import address, wrapped
from xds_server.envoy.resource import ENDPOINT, Resource, sealed
from xds_server.mesh.model import BackendEndpoints, Endpoint, Health

_HEALTH: Mapping[Health, str] = {
    Health.HEALTHY: "HEALTHY",
    Health.UNHEALTHY: "UNHEALTHY",
    Health.DRAINING: "DRAINING",
}


def load_assignment(endpoints: BackendEndpoints) -> Resource:
    """Without endpoints it is empty, which is not the same as missing: Envoy then answers 503 at once, and does
    not wait for it or keep the endpoints of before (https://github.com/envoyproxy/envoy/issues/13009)."""
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=endpoints.name, endpoints=localities(endpoints.endpoints))
    return sealed(ENDPOINT, endpoints.name, message, endpoints.origins)


def localities(endpoints: Iterable[Endpoint]) -> list[dict[str, Any]]:
    """LocalityLbEndpoints, sorted. A locality weighs as much as its endpoints. gRPC skips one without a weight, and
    refuses one without a locality message, be it empty."""
    return [
        {
            "locality": {"region": locality.region, "zone": locality.zone, "sub_zone": locality.subzone},
            "lb_endpoints": [_endpoint(endpoint) for endpoint in members],
            "load_balancing_weight": wrapped(sum(endpoint.weight for endpoint in members)),
        }
        for locality, group in groupby(sorted(endpoints, key=attrgetter("locality")), attrgetter("locality"))
        for members in [sorted(group)]
    ]


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "endpoint": {"address": address(endpoint.address, endpoint.port)},
        "health_status": _HEALTH[endpoint.health],
        "load_balancing_weight": wrapped(endpoint.weight),
    }
