"""For whom routes are made. Conditions on the client (`gateways`, `port`, `sourceLabels`, `sourceNamespace`) are
decided here and never sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from xds_server.kube.istio import virtual_service as vs
from xds_server.mesh import names
from xds_server.mesh.model import Labels


class Client(msgspec.Struct, frozen=True):
    """gateway: `namespace/name`, or `mesh` for sidecars. port: where requests come to.
    labels None: unknown, so that conditions on them hold. retries: those of routes that say nothing about them."""

    gateway: str
    port: int
    namespace: str
    labels: Labels | None
    retries: vs.HTTPRetry | None = None


class ClientMatch(Protocol):
    """The conditions on the client, which the matches of http, tcp and tls routes share."""

    @property
    def gateways(self) -> Sequence[str]: ...
    @property
    def port(self) -> int | None: ...
    @property
    def source_labels(self) -> Mapping[str, str]: ...
    @property
    def source_namespace(self) -> str: ...


def gateway_name(reference: str, namespace: str) -> str:
    """`ns/name` or a bare name of `namespace` -> `ns/name`; `mesh` stays."""
    if reference == names.MESH_GATEWAY or "/" in reference:
        return reference
    if ".svc." in reference:  # the legacy form name.namespace.svc.cluster.local
        name, namespace = reference.split(".")[:2]
        return f"{namespace}/{name}"
    return f"{namespace}/{reference}"


def gateways_of(service: vs.VirtualService) -> tuple[str, ...]:
    listed = service.spec.gateways or (names.MESH_GATEWAY,)
    return tuple(gateway_name(reference, service.metadata.namespace) for reference in listed)


def holds(condition: ClientMatch, client: Client, namespace: str) -> bool:
    """namespace: of the object that has the condition."""
    if condition.gateways and client.gateway not in {gateway_name(g, namespace) for g in condition.gateways}:
        return False
    if condition.port and condition.port != client.port:
        return False
    if condition.source_namespace and condition.source_namespace != client.namespace:
        return False
    wanted = set(condition.source_labels.items())
    return client.labels is None or wanted <= set(client.labels)


def narrowed(services: Iterable[vs.VirtualService], client: Client) -> Client:
    """The client, without what the conditions do not ask for: equal clients share their routes."""
    matches: list[ClientMatch] = []
    for service in services:
        matches += [m for http in service.spec.http for m in http.match]
        matches += [m for tcp in service.spec.tcp for m in tcp.match]
        matches += [m for tls in service.spec.tls for m in tls.match]
    labels = client.labels if any(m.source_labels for m in matches) else ()
    namespace = client.namespace if any(m.source_namespace for m in matches) else ""
    return msgspec.structs.replace(client, labels=labels, namespace=namespace)
