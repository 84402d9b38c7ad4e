"""The names of xDS resources, as Istio gives them. Every name has an inverse.

Source: istio pilot/pkg/model (BuildSubsetKey, ParseSubsetKey, ParseGatewayRDSRouteName).
"""

from __future__ import annotations

from typing import NamedTuple

CLUSTER_DOMAIN = "cluster.local"


class ClusterName(NamedTuple):
    """`outbound|80|v1|reviews.default.svc.cluster.local`; `inbound|8080||`."""

    direction: str
    port: int
    subset: str
    host: str

    def __str__(self) -> str:
        return f"{self.direction}|{self.port}|{self.subset}|{self.host}"


def outbound(port: int, subset: str, host: str) -> str:
    """The cluster, and the load assignment, of one port of a service."""
    return str(ClusterName("outbound", port, subset, host))


def parse_cluster(name: str) -> ClusterName:
    """The inverse of `outbound` and `inbound`. Raises ValueError when the name is not of this form."""
    direction, port, subset, host = name.split("|")
    return ClusterName(direction, int(port), subset, host)


def service_host(name: str, namespace: str) -> str:
    return f"{name}.{namespace}.svc.{CLUSTER_DOMAIN}"
