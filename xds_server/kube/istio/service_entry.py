"""Istio's ServiceEntry: a service that Kubernetes does not know."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import at_least_one, at_most_one, check, rule
from xds_server.kube.units import Port, UInt32


class ServiceEntryPort(Model, frozen=True, eq=False, gc=False):
    number: Port
    name: str
    protocol: str = ""
    target_port: Port | None = None


class WorkloadEntrySpec(Model, frozen=True, eq=False, gc=False):
    """One endpoint. address: an IP, a DNS name, or `unix:///path`."""

    address: str = ""
    ports: dict[str, Port] = {}
    labels: dict[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: UInt32 | None = None
    service_account: str = ""

    def __post_init__(self) -> None:
        path = self.address.removeprefix("unix://")
        is_socket = path != self.address
        check(
            at_least_one(self, "address", "network") if not self.address and not self.network else None,
            rule(not is_socket or path[:1] in ("/", "@"), ("address",), "a unix socket needs an absolute path"),
            rule(not is_socket or not path.endswith("/"), ("address",), "a unix socket cannot be a directory"),
            rule(not is_socket or not self.ports, ("ports",), "a unix socket has no ports"),
        )


class WorkloadLabels(Model, frozen=True, eq=False, gc=False):
    labels: dict[str, str] = {}


class ServiceEntrySpec(Model, frozen=True, eq=False, gc=False):
    hosts: Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]
    addresses: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    ports: Annotated[tuple[ServiceEntryPort, ...], Meta(max_length=256)] = ()
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] = "MESH_EXTERNAL"
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] = "NONE"
    endpoints: Annotated[tuple[WorkloadEntrySpec, ...], Meta(max_length=4096)] = ()
    workload_selector: WorkloadLabels | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbers = [port.number for port in self.ports]
        names = [port.name for port in self.ports]
        resolution = self.resolution
        has_cidr = any("/" in address for address in self.addresses)
        check(
            at_most_one(self, "endpoints", "workload_selector"),
            rule("*" not in self.hosts, ("hosts",), "a host cannot be * alone"),
            rule(
                not has_cidr or resolution in ("NONE", "STATIC"),
                ("addresses",),
                "a CIDR is allowed only with resolution NONE or STATIC",
            ),
            rule(resolution != "NONE" or not self.endpoints, ("endpoints",), "resolution NONE has no endpoints"),
            rule(
                resolution != "DNS_ROUND_ROBIN" or len(self.endpoints) <= 1,
                ("endpoints",),
                "resolution DNS_ROUND_ROBIN has at most one endpoint",
            ),
            rule(len(set(numbers)) == len(numbers), ("ports",), "two ports have the same number"),
            rule(len(set(names)) == len(names), ("ports",), "two ports have the same name"),
        )


class ServiceEntryAddress(Model, frozen=True, eq=False, gc=False):
    value: str = ""
    host: str = ""


class ServiceEntryStatus(Model, frozen=True, eq=False, gc=False):
    """addresses: virtual IPs that were given to the hosts."""

    addresses: tuple[ServiceEntryAddress, ...] = ()
    conditions: Ignored | None = None
    observed_generation: Ignored | None = None
    validation_messages: Ignored | None = None


class ServiceEntry(Object, frozen=True, eq=False, gc=False):
    GROUP = "networking.istio.io"
    KIND = "ServiceEntry"

    spec: ServiceEntrySpec
    status: ServiceEntryStatus | None = None
