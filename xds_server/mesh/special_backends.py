"""Backends that belong to no service: on to where the client wanted to go, nowhere, and the workload itself."""

from __future__ import annotations

from xds_server.mesh import names
from xds_server.mesh.model import Backend, BackendPolicy, Connections, Discovery, Endpoint, Protocol, ServicePort
from xds_server.mesh.origin import Origin

OWN = Origin(names.MESH_REF)
INBOUND_SOURCE = "127.0.0.6"
"""What the workload sees as its client: an address that iptables does not send to the proxy again (Istio)."""

_ANY_PORT = ServicePort(0, "", Protocol.AUTO)


def passthrough() -> Backend:
    return Backend(names.PASSTHROUGH, "", _ANY_PORT, BackendPolicy(), Discovery.ORIGINAL_DESTINATION, (OWN,))


def black_hole() -> Backend:
    return Backend(names.BLACK_HOLE, "", _ANY_PORT, BackendPolicy(), Discovery.FIXED, (OWN,))


def inbound_passthrough(binds_source: bool) -> Backend:
    """binds_source: the workload sees `INBOUND_SOURCE`; else, with TPROXY, the client's own address."""
    return Backend(
        names.INBOUND_PASSTHROUGH,
        "",
        _ANY_PORT,
        BackendPolicy(),
        Discovery.ORIGINAL_DESTINATION,
        (OWN,),
        source_address=INBOUND_SOURCE if binds_source else "",
    )


def workload(
    port: ServicePort,
    connections: Connections,
    endpoint: Endpoint | None,
    origin: Origin,
    binds_source: bool,
) -> Backend:
    """One port of the workload. endpoint None: it is reached where the client wanted to go."""
    return Backend(
        names.inbound(port.number),
        "",
        port,
        BackendPolicy(connections=connections),
        Discovery.FIXED if endpoint else Discovery.ORIGINAL_DESTINATION,
        (origin,),
        fixed=(endpoint,) if endpoint else (),
        source_address="" if endpoint or not binds_source else INBOUND_SOURCE,
    )
