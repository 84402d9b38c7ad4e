"""Istio's ServiceEntry: a service that Kubernetes does not know."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from xds_server.kube.istio.workload_entry import WorkloadEntrySpec
from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import at_most_one, check, rule
from xds_server.kube.units import Port

_LABEL = r"[a-z0-9_](?:[-a-z0-9_]*[a-z0-9_])?"
_HOST = re.compile(rf"(?:\*[.-]?)?{_LABEL}(?:\.{_LABEL})*\.?", re.IGNORECASE)


class ServiceEntryPort(Model, frozen=True, eq=False, gc=False):
    number: Port
    name: str
    protocol: str = ""
    target_port: Port | None = None


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
        odd = [index for index, host in enumerate(self.hosts) if not (_HOST.fullmatch(host) or host == "*")]
        check(
            *(rule(False, ("hosts", index), "a host is a DNS name, perhaps with *. before it") for index in odd),
            rule("*" not in self.hosts, ("hosts",), "a host cannot be * alone"),
            at_most_one(self, "endpoints", "workload_selector"),
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
