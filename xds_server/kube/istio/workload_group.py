"""Istio's WorkloadGroup: what the WorkloadEntries of one group have in common."""

from __future__ import annotations

from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import check, rule
from xds_server.kube.units import Port, UInt32


class WorkloadGroupMetadata(Model, frozen=True, eq=False, gc=False):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class WorkloadTemplate(Model, frozen=True, eq=False, gc=False):
    """As the spec of a WorkloadEntry, without an address: each entry has its own."""

    address: str = ""
    ports: dict[str, Port] = {}
    labels: dict[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: UInt32 | None = None
    service_account: str = ""


class WorkloadGroupSpec(Model, frozen=True, eq=False, gc=False):
    """probe: for the agent beside the workload, which writes what it finds into the WorkloadEntry."""

    template: WorkloadTemplate
    metadata: WorkloadGroupMetadata = WorkloadGroupMetadata()
    probe: Ignored | None = None

    def __post_init__(self) -> None:
        check(rule(not self.template.address, ("template", "address"), "each WorkloadEntry has an address of its own"))


class WorkloadGroup(Object, frozen=True, eq=False, gc=False):
    GROUP = "networking.istio.io"
    KIND = "WorkloadGroup"

    spec: WorkloadGroupSpec
    status: Ignored | None = None
