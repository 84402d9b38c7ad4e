"""Istio's WorkloadEntry: an endpoint that is no Pod, such as a virtual machine."""

from __future__ import annotations

from typing import Literal

from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import at_least_one, check, rule
from xds_server.kube.units import Port, UInt32


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


class WorkloadCondition(Model, frozen=True, eq=False, gc=False):
    type: str = ""
    status: Literal["", "True", "False", "Unknown"] = ""
    last_probe_time: Ignored | None = None
    last_transition_time: Ignored | None = None
    message: Ignored | None = None
    reason: Ignored | None = None


class WorkloadEntryStatus(Model, frozen=True, eq=False, gc=False):
    """conditions: `Healthy` is what the agent beside the workload found by its probe."""

    conditions: tuple[WorkloadCondition, ...] = ()
    observed_generation: Ignored | None = None
    validation_messages: Ignored | None = None


class WorkloadEntry(Object, frozen=True, eq=False, gc=False):
    GROUP = "networking.istio.io"
    KIND = "WorkloadEntry"

    spec: WorkloadEntrySpec
    status: WorkloadEntryStatus | None = None
