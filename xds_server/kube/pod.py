"""Pods: where they are, what they are called and which ports they name."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from xds_server.kube.core import Protocol
from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.units import Port


class ContainerPort(Model, frozen=True, eq=False, gc=False):
    container_port: Port
    name: str = ""
    protocol: Protocol = "TCP"
    host_port: Ignored | None = None
    host_ip: Ignored | None = field(name="hostIP", default=None)


class Container(Model, frozen=True, eq=False, gc=False):
    """restart_policy: `Always` makes an init container a sidecar container, which runs beside the others."""

    name: str
    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str | None = None
    args: Ignored | None = None
    command: Ignored | None = None
    env: Ignored | None = None
    env_from: Ignored | None = None
    image: Ignored | None = None
    image_pull_policy: Ignored | None = None
    lifecycle: Ignored | None = None
    liveness_probe: Ignored | None = None
    readiness_probe: Ignored | None = None
    startup_probe: Ignored | None = None
    resize_policy: Ignored | None = None
    resources: Ignored | None = None
    restart_policy_rules: Ignored | None = None
    security_context: Ignored | None = None
    stdin: Ignored | None = None
    stdin_once: Ignored | None = None
    termination_message_path: Ignored | None = None
    termination_message_policy: Ignored | None = None
    tty: Ignored | None = None
    volume_devices: Ignored | None = None
    volume_mounts: Ignored | None = None
    working_dir: Ignored | None = None


class PodSpec(Model, frozen=True, eq=False, gc=False):
    """service_account is the deprecated name of service_account_name."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    node_name: str = ""
    service_account_name: str = ""
    service_account: str = ""
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    active_deadline_seconds: Ignored | None = None
    affinity: Ignored | None = None
    automount_service_account_token: Ignored | None = None
    dns_config: Ignored | None = None
    dns_policy: Ignored | None = None
    enable_service_links: Ignored | None = None
    ephemeral_containers: Ignored | None = None
    eviction_responders: Ignored | None = None
    host_aliases: Ignored | None = None
    host_ipc: Ignored | None = field(name="hostIPC", default=None)
    host_pid: Ignored | None = field(name="hostPID", default=None)
    host_users: Ignored | None = None
    hostname_override: Ignored | None = None  # the Pod sees it, the DNS does not (KEP-4762)
    image_pull_secrets: Ignored | None = None
    node_selector: Ignored | None = None
    os: Ignored | None = None
    overhead: Ignored | None = None
    preemption_policy: Ignored | None = None
    priority: Ignored | None = None
    priority_class_name: Ignored | None = None
    readiness_gates: Ignored | None = None
    resource_claims: Ignored | None = None
    resources: Ignored | None = None
    restart_policy: Ignored | None = None
    runtime_class_name: Ignored | None = None
    scheduler_name: Ignored | None = None
    scheduling_gates: Ignored | None = None
    scheduling_group: Ignored | None = None
    security_context: Ignored | None = None
    set_hostname_as_fqdn: Ignored | None = field(name="setHostnameAsFQDN", default=None)
    share_process_namespace: Ignored | None = None
    termination_grace_period_seconds: Ignored | None = None
    tolerations: Ignored | None = None
    topology_spread_constraints: Ignored | None = None
    volumes: Ignored | None = None


class PodCondition(Model, frozen=True, eq=False, gc=False):
    type: str
    status: Literal["True", "False", "Unknown"]
    last_probe_time: Ignored | None = None
    last_transition_time: Ignored | None = None
    message: Ignored | None = None
    observed_generation: Ignored | None = None
    reason: Ignored | None = None


class PodIP(Model, frozen=True, eq=False, gc=False):
    ip: str


class PodStatus(Model, frozen=True, eq=False, gc=False):
    phase: Literal["", "Pending", "Running", "Succeeded", "Failed", "Unknown"] = ""
    pod_ip: str = field(name="podIP", default="")
    pod_ips: tuple[PodIP, ...] = field(name="podIPs", default=())
    conditions: tuple[PodCondition, ...] = ()
    allocated_resources: Ignored | None = None
    container_statuses: Ignored | None = None
    ephemeral_container_statuses: Ignored | None = None
    extended_resource_claim_status: Ignored | None = None
    host_ip: Ignored | None = field(name="hostIP", default=None)
    host_ips: Ignored | None = field(name="hostIPs", default=None)
    init_container_statuses: Ignored | None = None
    message: Ignored | None = None
    node_allocatable_resource_claim_statuses: Ignored | None = None
    nominated_node_name: Ignored | None = None
    observed_generation: Ignored | None = None
    qos_class: Ignored | None = None
    reason: Ignored | None = None
    resize: Ignored | None = None
    resource_claim_statuses: Ignored | None = None
    resources: Ignored | None = None
    start_time: Ignored | None = None
    volume_health: Ignored | None = None


class Pod(Object, frozen=True, eq=False, gc=False):
    GROUP = ""
    KIND = "Pod"

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        """As the `Ready` condition says; a pod without one, as in hand-written files, is not ready."""
        return any(condition.type == "Ready" and condition.status == "True" for condition in self.status.conditions)
