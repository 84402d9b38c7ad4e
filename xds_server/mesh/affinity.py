"""`sessionAffinity: ClientIP` of a Service, as the load balancing that a DestinationRule would ask for in its place."""

from __future__ import annotations

import msgspec

from xds_server.kube.istio import destination_rule as dr
from xds_server.mesh.model import Service
from xds_server.mesh.origin import Origin
from xds_server.mesh.policy import Effective, Setting

_BY_ADDRESS = dr.ConsistentHash(use_source_ip=True)


def with_affinity(chosen: Effective, service: Service) -> Effective:
    """What holds for a port of the service. A DestinationRule that says how to choose endpoints wins."""
    balancer = chosen.load_balancer
    if not service.sticky or (balancer and _decides(balancer.value)):
        return chosen
    said = balancer.value if balancer else dr.LoadBalancerSettings()
    value = msgspec.structs.replace(said, simple=None, consistent_hash=_BY_ADDRESS)
    origin = balancer.origin if balancer else Origin(service.origin.ref, ("spec", "sessionAffinity"))
    return msgspec.structs.replace(chosen, load_balancer=Setting(value, origin))


def _decides(balancer: dr.LoadBalancerSettings) -> bool:
    return balancer.consistent_hash is not None or balancer.simple not in (None, "UNSPECIFIED")
