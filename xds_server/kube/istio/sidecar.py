"""Istio's Sidecar: what the proxies beside some workloads take in and can reach."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from xds_server.kube.istio.destination_rule import ConnectionPoolSettings
from xds_server.kube.istio.gateway import ServerTLSSettings
from xds_server.kube.istio.virtual_service import Destination
from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import check, is_address, rule
from xds_server.kube.units import Port

_ENDPOINT = re.compile(r"(127\.0\.0\.1|\[::1\]|0\.0\.0\.0|\[::\]):[1-9]\d{0,4}|unix://[/@].+")
CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]


class SidecarPort(Model, frozen=True, eq=False, gc=False):
    """target_port is deprecated."""

    number: Annotated[int, Meta(ge=0, le=65535)] | None = None
    protocol: str = ""
    name: str = ""
    target_port: Port | None = None


class IstioIngressListener(Model, frozen=True, eq=False, gc=False):
    """default_endpoint: `127.0.0.1:PORT`, `[::1]:PORT`, `0.0.0.0:PORT`, `[::]:PORT` or `unix:///path`."""

    # The rules are those of Istio's validation (pkg/config/validation/validation.go, ValidateSidecar).

    port: SidecarPort
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"
    default_endpoint: str = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None

    def __post_init__(self) -> None:
        endpoint, known = self.default_endpoint, "127.0.0.1:PORT, [::1]:PORT, 0.0.0.0:PORT, [::]:PORT or unix:///PATH"
        check(
            rule(bool(self.port.number), ("port", "number"), "an ingress port needs a number"),
            rule(
                not endpoint or bool(_ENDPOINT.fullmatch(endpoint)),
                ("defaultEndpoint",),
                f"it is written {known}, and {endpoint!r} is not",
            ),
            rule(not self.bind or is_address(self.bind), ("bind",), f"{self.bind!r} is not an IP address"),
        )


class IstioEgressListener(Model, frozen=True, eq=False, gc=False):
    """hosts: `namespace/host`; the namespace may be `.`, `*` or `~`."""

    hosts: Annotated[tuple[str, ...], Meta(min_length=1)]
    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"

    def __post_init__(self) -> None:
        wrong = next((host for host in self.hosts if host.count("/") != 1 or host.endswith("/")), None)
        number = self.port.number or 0 if self.port else 0
        path = self.bind.removeprefix("unix://")
        is_socket = path.startswith(("/", "@"))
        check(
            rule(wrong is None, ("hosts",), f"a host is written namespace/host, and {wrong!r} is not"),
            rule(
                is_socket or not self.bind or is_address(self.bind),
                ("bind",),
                f"{self.bind!r} is neither an IP address nor unix:///PATH",
            ),
            rule(not self.bind or self.port is not None, ("bind",), "a listener with bind needs a port"),
            rule(
                self.port is None or is_socket or number > 0,
                ("port", "number"),
                "only a listener on a unix socket has no number",
            ),
            rule(not is_socket or number == 0, ("port", "number"), "a listener on a unix socket has the number 0"),
        )


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

    def __post_init__(self) -> None:
        numbers = [listener.port.number for listener in self.ingress]
        places = [(e.bind, e.port.number or 0) for e in self.egress if e.port is not None]
        without = [index for index, listener in enumerate(self.egress) if listener.port is None]
        check(
            rule(len(set(numbers)) == len(numbers), ("ingress",), "two ingress listeners have the same port"),
            rule(len(set(places)) == len(places), ("egress",), "two egress listeners have the same bind and port"),
            rule(
                without in ([], [len(self.egress) - 1]),
                ("egress",),
                "only the last egress listener can have no port: it is for all others",
            ),
        )


class Sidecar(Object, frozen=True, eq=False, gc=False):
    GROUP = "networking.istio.io"
    KIND = "Sidecar"

    spec: SidecarSpec = SidecarSpec()
    status: Ignored | None = None
