"""Istio's Sidecar: what the proxies beside some workloads take in and can reach."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from xds_server.kube.istio.destination_rule import ConnectionPoolSettings
from xds_server.kube.istio.gateway import ServerTLSSettings
from xds_server.kube.istio.virtual_service import Destination
from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import check, rule
from xds_server.kube.units import Port

CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]


class SidecarPort(Model, frozen=True, eq=False, gc=False):
    """target_port is deprecated."""

    number: Port | None = None
    protocol: str = ""
    name: str = ""
    target_port: Port | None = None


class IstioIngressListener(Model, frozen=True, eq=False, gc=False):
    """default_endpoint: `127.0.0.1:PORT`, `[::1]:PORT`, `0.0.0.0:PORT`, `[::]:PORT` or `unix:///path`."""

    port: SidecarPort
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"
    default_endpoint: str = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None

    def __post_init__(self) -> None:
        check(rule(self.port.number is not None, ("port", "number"), "an ingress port needs a number"))


class IstioEgressListener(Model, frozen=True, eq=False, gc=False):
    """hosts: `namespace/host`; the namespace may be `.`, `*` or `~`."""

    hosts: Annotated[tuple[str, ...], Meta(min_length=1)]
    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"

    def __post_init__(self) -> None:
        wrong = next((host for host in self.hosts if host.count("/") != 1 or host.endswith("/")), None)
        check(rule(wrong is None, ("hosts",), f"a host is written namespace/host, and {wrong!r} is not"))


class OutboundTrafficPolicy(Model, frozen=True, eq=False, gc=False):
    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"
    egress_proxy: Destination | None = None


class WorkloadSelector(Model, frozen=True, eq=False, gc=False):
    labels: dict[str, str] = {}


class SidecarSpec(Model, frozen=True, eq=False, gc=False):
    workload_selector: WorkloadSelector | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None


class Sidecar(Object, frozen=True, eq=False, gc=False):
    GROUP = "networking.istio.io"
    KIND = "Sidecar"

    spec: SidecarSpec = SidecarSpec()
    status: Ignored | None = None
