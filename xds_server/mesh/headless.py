"""The endpoints of a headless service that have names of their own: `pod-0.svc.ns.svc.cluster.local`.

Each is a service of its own with one endpoint, so that a client can tell the members of a StatefulSet apart and
still get the service's policies (istio#7495, #10659).
"""

from __future__ import annotations

import re

from xds_server.mesh.endpoints import ServiceEndpoints
from xds_server.mesh.model import Service

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

Named = tuple[tuple[Service, ServiceEndpoints], ...]


def named_endpoints(parent: Service, found: ServiceEndpoints) -> Named:
    """found: the endpoints of the headless service `parent`."""
    return tuple(
        (_service(parent, name, addresses), _endpoints(found, name))
        for name, addresses in found.hostnames.items()
        if _LABEL.fullmatch(name)
    )


def _service(parent: Service, hostname: str, addresses: tuple[str, ...]) -> Service:
    """Its address is the Pod's own, so that connections to that are told apart as well."""
    return Service(
        host=f"{hostname}.{parent.host}",
        name=parent.name,
        namespace=parent.namespace,
        ports=parent.ports,
        origin=parent.origin,
        addresses=addresses,
        discovery=parent.discovery,
        external=parent.external,
        exported_to=parent.exported_to,
        subject_alt_names=parent.subject_alt_names,
        created=parent.created,
        parent=parent.host,
    )


def _endpoints(found: ServiceEndpoints, hostname: str) -> ServiceEndpoints:
    return ServiceEndpoints(
        {
            port: tuple(endpoint for endpoint in endpoints if endpoint.whereabouts.hostname == hostname)
            for port, endpoints in found.by_port.items()
        },
        found.origins,
    )
