"""The ports of a workload, from the services that lead to it or from the `ingress` of a Sidecar."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from xds_server.diagnostics import Diagnostic, Path, diagnostic
from xds_server.kube import core
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.kube.istio.sidecar import IstioIngressListener
from xds_server.kube.pod import Pod
from xds_server.memo import Memo
from xds_server.mesh.endpoints import target_port
from xds_server.mesh.model import Connections, Endpoint, Protocol, ServerTLS, ServicePort
from xds_server.mesh.origin import Origin
from xds_server.mesh.policy import connections
from xds_server.mesh.protocols import declared_protocol, port_protocol
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.proxy_secrets import ProxySecrets
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.scope import Scope
from xds_server.mesh.selection import selecting
from xds_server.mesh.server_tls import ended_tls

EVERY_ADDRESS = "0.0.0.0"


class Port(msgspec.Struct, frozen=True):
    """A port of the workload. service_port: what clients in the mesh call it.

    endpoint None: it is reached where the client wanted to go.
    address: where a listener of its own opens it; empty for a chain of `virtualInbound`.
    tls: ended by the proxy. closed: connections are closed at once.
    """

    port: ServicePort
    service_port: int
    origin: Origin
    connections: Connections
    endpoint: Endpoint | None = None
    address: str = ""
    tls: ServerTLS | None = None
    closed: bool = False


def service_ports(
    mesh: Mesh, proxy: Proxy, pool: Connections, memo: Memo
) -> tuple[tuple[Port, ...], tuple[Diagnostic, ...]]:
    """Those to which services lead. The oldest service of a port says what it speaks."""
    labels = dict(proxy.labels or ())
    services = selecting(mesh.kubernetes_services, proxy.namespace, labels)
    entries = selecting(mesh.service_entries, proxy.namespace, labels)
    found: list[core.Service | ServiceEntry] = [*services, *entries]
    pods = mesh.registry.workloads.selected(proxy.namespace, labels)
    return memo(_service_ports, tuple(sorted(found, key=_age)), pods, pool)


def _service_ports(
    services: tuple[core.Service | ServiceEntry, ...], pods: tuple[Pod, ...], pool: Connections
) -> tuple[tuple[Port, ...], tuple[Diagnostic, ...]]:
    """pods: those of the workload."""
    notes: list[Diagnostic] = []
    taken: dict[int, Port] = {}
    for service in services:
        of_kind = _of_service(service, pods, notes) if isinstance(service, core.Service) else _of_entry(service)
        for path, number, service_port, name, protocol in of_kind:
            port = Port(ServicePort(number, name, protocol), service_port, Origin(service.ref, path), pool)
            first = taken.setdefault(number, port)
            if first.port.protocol is not protocol:
                notes.append(diagnostic("XDS3012", service.ref, path, port=number, first=first.origin.ref))
    return tuple(taken.values()), tuple(notes)


Found = Iterator[tuple[Path, int, int, str, Protocol]]
"""Where it is written, the workload's port, the service's port, its name, and what it speaks."""


def _age(service: core.Service | ServiceEntry) -> tuple[str, str, str]:
    meta = service.metadata
    return (meta.creation_timestamp or "", meta.name, service.KIND)


def _of_service(service: core.Service, pods: tuple[Pod, ...], notes: list[Diagnostic]) -> Found:
    for index, port in enumerate(service.spec.ports):
        protocol = port_protocol(port.port, port.name, port.protocol, port.app_protocol or "")
        path: Path = ("spec", "ports", index)
        numbers = (target_port(port, pod) for pod in pods)
        number = next((n for n in numbers if n), target_port(port, None))
        if number is None:
            notes.append(diagnostic("XDS2009", service.ref, (*path, "targetPort"), port=port.target_port))
        elif protocol is not Protocol.UDP:
            yield path, number, port.port, port.name, protocol


def _of_entry(entry: ServiceEntry) -> Found:
    for index, port in enumerate(entry.spec.ports):
        protocol = declared_protocol(port.protocol) or port_protocol(port.number, port.name, "TCP", "")
        if protocol is not Protocol.UDP:
            yield ("spec", "ports", index), port.target_port or port.number, port.number, port.name, protocol


def ingress_ports(scope: Scope, captures: bool, secrets: ProxySecrets, notes: list[Diagnostic]) -> Iterator[Port]:
    """Those of the Sidecar, which then are all that there are."""
    sidecar = scope.sidecar
    if sidecar is None:
        return
    for index, listener in enumerate(scope.ingress):
        origin = Origin(sidecar.ref, ("spec", "ingress", index))
        own = not captures or listener.capture_mode == "NONE"
        if own and not listener.default_endpoint:
            notes.append(diagnostic("XDS4016", origin.ref, origin.path))
            continue
        if listener.bind and not own:
            reason = "where connections are redirected: the listener takes those for every address of the workload"
            notes.append(diagnostic("XDS4009", origin.ref, (*origin.path, "bind"), field="bind", reason=reason))
        made = _ingress(listener, origin, scope.inbound, own, notes)
        if listener.tls is not None:
            where = Origin(origin.ref, (*origin.path, "tls"))
            http = made.port.protocol.is_http
            tls = ended_tls(listener.tls, where, http, secrets, notes)
            # Without the TLS that was asked for, it would be open to everybody.
            made = msgspec.structs.replace(made, tls=tls, closed=tls is None)
        yield made


def _ingress(
    listener: IstioIngressListener, origin: Origin, pool: Connections, own: bool, notes: list[Diagnostic]
) -> Port:
    number, text = listener.port.number or 0, listener.port.protocol
    protocol = declared_protocol(text)
    if protocol is None and text:
        notes.append(diagnostic("XDS4003", origin.ref, (*origin.path, "port", "protocol"), protocol=text))
    if listener.tls is not None:  # what is inside of it
        protocol = Protocol.HTTP if text.upper() == "HTTPS" else protocol
        protocol = Protocol.TCP if protocol in (None, Protocol.TLS, Protocol.AUTO) else protocol
    port = ServicePort(number, listener.port.name, protocol or (Protocol.TCP if text else Protocol.AUTO))
    endpoint = _endpoint(listener.default_endpoint, own)
    if endpoint is not None and endpoint.address == EVERY_ADDRESS:
        port = msgspec.structs.replace(port, target=endpoint.port if endpoint.port != number else 0)
        endpoint = None
    address = (listener.bind or EVERY_ADDRESS) if own else ""
    chosen = connections(listener.connection_pool) if listener.connection_pool else pool
    return Port(port, number, origin, chosen, endpoint, address)


def _endpoint(text: str, own: bool) -> Endpoint | None:
    """Where the workload listens. `0.0.0.0` means the address that the client wanted, which is known only when
    its connection was redirected; else the workload is on this machine."""
    if not text:
        return None
    if text.startswith("unix://"):
        return Endpoint(text.removeprefix("unix://"), 0)
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if host in (EVERY_ADDRESS, "::"):
        loopback = "::1" if host == "::" else "127.0.0.1"
        host = loopback if own else EVERY_ADDRESS
    return Endpoint(host, int(port))
