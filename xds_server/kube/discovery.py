"""The API group discovery.k8s.io, version v1: EndpointSlices."""

from __future__ import annotations

from typing import Literal

from xds_server.kube.core import ObjectReference, Protocol
from xds_server.kube.meta import Model, Object
from xds_server.kube.units import Port


class EndpointConditions(Model, frozen=True, eq=False, gc=False):
    """None is unknown: it counts as ready and serving, and as not terminating (discovery/v1 types.go)."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Model, frozen=True, eq=False, gc=False):
    name: str


class ForNode(Model, frozen=True, eq=False, gc=False):
    name: str


class EndpointHints(Model, frozen=True, eq=False, gc=False):
    for_zones: tuple[ForZone, ...] = ()
    for_nodes: tuple[ForNode, ...] = ()


class Endpoint(Model, frozen=True, eq=False, gc=False):
    """All addresses are of one and the same endpoint; consumers use the first."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    target_ref: ObjectReference | None = None
    hints: EndpointHints | None = None
    deprecated_topology: dict[str, str] = {}


class EndpointPort(Model, frozen=True, eq=False, gc=False):
    """port None: all ports."""

    name: str = ""
    port: Port | None = None
    protocol: Protocol = "TCP"
    app_protocol: str | None = None


class EndpointSlice(Object, frozen=True, eq=False, gc=False):
    """Belongs to the Service that its label kubernetes.io/service-name names."""

    GROUP = "discovery.k8s.io"
    KIND = "EndpointSlice"

    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
