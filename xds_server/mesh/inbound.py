"""A sidecar's way in: the ports of the workload beside it.

With interception they are chains of `virtualInbound`; without, the ingress listeners of a Sidecar open ports of
their own. Identities are not issued yet, so what comes in is plaintext (as PeerAuthentication DISABLE).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from xds_server.diagnostics import diagnostic
from xds_server.kube import core
from xds_server.kube.istio.sidecar import IstioIngressListener
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.endpoints import selects, target_port
from xds_server.mesh.model import (
    Backend,
    Chain,
    ChainMatch,
    Connections,
    Destination,
    Direction,
    Endpoint,
    Forward,
    Http,
    Listener,
    Match,
    Protocol,
    Retry,
    Route,
    RouteTable,
    ServicePort,
    Tcp,
    VirtualHost,
)
from xds_server.mesh.origin import Origin
from xds_server.mesh.policy import connections
from xds_server.mesh.protocols import declared_protocol, port_protocol
from xds_server.mesh.proxy import Interception, Proxy
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered
from xds_server.mesh.scope import Scope
from xds_server.mesh.special_backends import OWN, inbound_passthrough, workload

EVERY_ADDRESS = "0.0.0.0"
INBOUND_PORT = 15006


class Port(msgspec.Struct, frozen=True):
    """A port of the workload. endpoint None: where the client wanted to go. address: where a listener of its own
    opens it; empty for a chain of `virtualInbound`. service_port: what clients in the mesh call it."""

    port: ServicePort
    service_port: int
    origin: Origin
    connections: Connections
    endpoint: Endpoint | None = None
    address: str = ""


class Inbound:
    """Collects a sidecar's inbound listeners and route tables; lives only while its view is made."""

    def __init__(self, mesh: Mesh, proxy: Proxy, scope: Scope, memo: Memo, gathered: Gathered) -> None:
        self._mesh, self._proxy, self._scope, self._gathered = mesh, proxy, scope, gathered
        self._captures = proxy.interception is not Interception.NONE
        ports = list(self._ingress()) if scope.ingress else list(self._of_services())
        made = [memo(_port, port) for port in ports]
        self.route_tables = [part.route_table for part in made if part.route_table is not None]
        self.listeners = [part.listener for part in made if part.listener is not None]
        gathered.special |= {part.backend.name: part.backend for part in made}
        if self._captures:
            inner = [(port, part) for port, part in zip(ports, made, strict=True) if part.listener is None]
            self._add_virtual_inbound(inner, memo)

    def _of_services(self) -> Iterator[Port]:
        """The ports to which the Services of the workload lead. The oldest Service of a port says what it speaks."""
        if not self._captures:
            return
        taken: dict[int, Port] = {}
        for service in sorted(self._selecting(), key=lambda s: (s.metadata.creation_timestamp or "", s.metadata.name)):
            for index, port in enumerate(service.spec.ports):
                found = self._port_of(service, index, port)
                if found is None:
                    continue
                first = taken.setdefault(found.port.number, found)
                if first.port.protocol is not found.port.protocol:
                    path = ("spec", "ports", index)
                    number = found.port.number
                    note = diagnostic("XDS3012", service.ref, path, port=number, first=first.origin.ref)
                    self._gathered.notes.append(note)
        yield from taken.values()

    def _selecting(self) -> list[core.Service]:
        labels = dict(self._proxy.labels or ())
        return [
            service
            for (namespace, _), service in self._mesh.kubernetes_services.items()
            if namespace == self._proxy.namespace and service.spec.selector and selects(service.spec.selector, labels)
        ]

    def _port_of(self, service: core.Service, index: int, port: core.ServicePort) -> Port | None:
        protocol = port_protocol(port.port, port.name, port.protocol, port.app_protocol or "")
        if protocol is Protocol.UDP:
            return None
        pods = self._mesh.registry.workloads.selected(self._proxy.namespace, dict(self._proxy.labels or ()))
        numbers = (target_port(port, pod) for pod in pods)
        number = next((n for n in numbers if n), target_port(port, None))
        if number is None:
            path = ("spec", "ports", index, "targetPort")
            self._gathered.notes.append(diagnostic("XDS2008", service.ref, path, port=port.target_port))
            return None
        origin = Origin(service.ref, ("spec", "ports", index))
        return Port(ServicePort(number, port.name, protocol), port.port, origin, self._scope.inbound)

    def _ingress(self) -> Iterator[Port]:
        sidecar = self._scope.sidecar
        if sidecar is None:
            return
        for index, listener in enumerate(self._scope.ingress):
            path = ("spec", "ingress", index)
            number = listener.port.number or 0
            protocol = declared_protocol(listener.port.protocol) or Protocol.AUTO
            own = not self._captures or listener.capture_mode == "NONE"
            if own and not listener.default_endpoint:
                self._gathered.notes.append(diagnostic("XDS4016", sidecar.ref, path))
                continue
            pool = listener.connection_pool
            yield Port(
                ServicePort(number, listener.port.name, protocol),
                number,
                Origin(sidecar.ref, path),
                connections(pool) if pool else self._scope.inbound,
                _endpoint(listener, own),
                (listener.bind or EVERY_ADDRESS) if own else "",
            )

    def _add_virtual_inbound(self, inner: list[tuple[Port, Part]], memo: Memo) -> None:
        other = inbound_passthrough()
        self._gathered.special[other.name] = other
        self.route_tables.append(memo(_route_table, other.name, 0, Protocol.HTTP, OWN))
        rest = Tcp((Destination(other.name),), other.name)
        chains = [Chain("virtualInbound-blackhole", ChainMatch(port=INBOUND_PORT), Tcp((), "blackhole"))]
        chains += [chain for _, part in inner for chain in part.chains]
        http = Http(other.name, other.name)
        chains.append(Chain("virtualInbound-catchall-http", ChainMatch(detected_http=True), http, origins=(OWN,)))
        origins = tuple(dict.fromkeys(port.origin for port, _ in inner)) or (OWN,)
        self.listeners.append(
            Listener(
                name="virtualInbound",
                address=EVERY_ADDRESS,
                port=INBOUND_PORT,
                direction=Direction.INBOUND,
                chains=tuple(chains),
                origins=origins,
                default_chain=Chain("virtualInbound", ChainMatch(), rest, origins=(OWN,)),
                captures=True,
                transparent=self._proxy.interception is Interception.TPROXY,
                silent_ports=tuple(sorted(p.port.number for p, _ in inner if p.port.protocol is Protocol.TCP)),
            )
        )


class Part(msgspec.Struct, frozen=True, eq=False):
    """What one port of the workload comes to."""

    backend: Backend
    chains: tuple[Chain, ...]
    route_table: RouteTable | None
    listener: Listener | None


def _port(port: Port) -> Part:
    number, protocol, origin = port.port.number, port.port.protocol, port.origin
    made = workload(port.port, port.connections, port.endpoint, origin)
    name = names.listener(port.address or EVERY_ADDRESS, number)
    captured = 0 if port.address else number
    chains: list[Chain] = []
    table = None
    if protocol.is_http or protocol is Protocol.AUTO:
        match = ChainMatch(detected_http=protocol is Protocol.AUTO, port=captured)
        chains.append(Chain(name, match, Http(made.name, made.name), origins=(origin,)))
        table = _route_table(made.name, port.service_port, protocol, origin)
    if not protocol.is_http:
        tcp = Tcp((Destination(made.name),), made.name)
        chains.append(Chain(f"{name}_tcp", ChainMatch(port=captured), tcp, origins=(origin,)))
    listener = None
    if port.address:
        listener = Listener(name, port.address, number, Direction.INBOUND, tuple(chains), (origin,))
    return Part(made, tuple(chains), table, listener)


def _route_table(backend: str, service_port: int, protocol: Protocol, origin: Origin) -> RouteTable:
    # Inside of the workload's machine only what was never sent is tried again (istio inbound: reset-before-request).
    retry = None if protocol is Protocol.GRPC else Retry(2, ("reset-before-request",), avoid_previous_hosts=False)
    route = Route("default", Match(), Forward((Destination(backend),), retry=retry), origin)
    host = VirtualHost(f"inbound|http|{service_port}", ("*",), (route,))
    return RouteTable(backend, (host,), (origin,))


def _endpoint(listener: IstioIngressListener, own: bool) -> Endpoint | None:
    """Where the workload listens. `0.0.0.0` means the address that the client wanted, which is known only when
    its connection was redirected."""
    text = listener.default_endpoint
    if text.startswith("unix://"):
        return Endpoint(text.removeprefix("unix://"), 0)
    host, _, number = text.rpartition(":")
    if not number.isdecimal():
        return None
    host = host.strip("[]")
    if host not in ("0.0.0.0", "::"):
        return Endpoint(host, int(number))
    loopback = "::1" if host == "::" else "127.0.0.1"
    return Endpoint(loopback, int(number)) if own or int(number) != listener.port.number else None
