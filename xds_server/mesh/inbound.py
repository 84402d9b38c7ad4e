"""A sidecar's way in: the ports of the workload beside it.

With interception they are chains of `virtualInbound`; without, the ingress listeners of a Sidecar open ports of
their own. Identities are not issued yet, so what comes in is plaintext (as PeerAuthentication DISABLE), unless an
ingress listener ends TLS itself.
"""

from __future__ import annotations

import msgspec

from xds_server.diagnostics import diagnostic
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.inbound_ports import Port, ingress_ports, service_ports
from xds_server.mesh.model import (
    Backend,
    Chain,
    ChainMatch,
    Destination,
    Direction,
    Forward,
    Http,
    Listener,
    Match,
    Protocol,
    Retry,
    Route,
    RouteTable,
    Tcp,
    VirtualHost,
)
from xds_server.mesh.origin import Origin
from xds_server.mesh.outbound_places import FIRST_UNPRIVILEGED_PORT, INBOUND_PORT, REDIRECTED, RESERVED_PORTS
from xds_server.mesh.protocols import SERVER_FIRST
from xds_server.mesh.proxy import Interception, Proxy
from xds_server.mesh.proxy_secrets import ProxySecrets
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered
from xds_server.mesh.scope import Scope
from xds_server.mesh.special_backends import OWN, inbound_passthrough, workload

EVERY_ADDRESS = "0.0.0.0"


class Inbound:
    """Collects a sidecar's inbound listeners and route tables; lives only while its view is made."""

    def __init__(self, mesh: Mesh, proxy: Proxy, scope: Scope, memo: Memo, gathered: Gathered) -> None:
        self._proxy, self._gathered = proxy, gathered
        self._binds_source = proxy.interception is Interception.REDIRECT
        self._captures = proxy.interception is not Interception.NONE
        if scope.ingress:
            secrets = ProxySecrets(mesh, proxy, memo, gathered)
            ports = tuple(ingress_ports(scope, self._captures, secrets, gathered.notes))
        else:
            ports, notes = service_ports(mesh, proxy, scope.inbound, memo) if self._captures else ((), ())
            gathered.notes += notes
        made = [memo(_port, port, self._binds_source) for port in ports if self._may_bind(port)]
        self.route_tables = [part.route_table for part in made if part.route_table is not None]
        self.listeners = [part.listener for part in made if part.listener is not None]
        gathered.special |= {part.backend.name: part.backend for part in made}
        if self._captures:
            other = memo(inbound_passthrough, self._binds_source)
            gathered.special[other.name] = other
            self.route_tables.append(memo(_route_table, other.name, 0, Protocol.HTTP, OWN))
            inner = tuple(part for part in made if part.listener is None)
            is_transparent = proxy.interception is Interception.TPROXY
            self.listeners.append(memo(_virtual_inbound, inner, other.name, is_transparent))

    def _may_bind(self, port: Port) -> bool:
        number = port.port.number
        if self._captures and number in RESERVED_PORTS:
            ref, path = port.origin.ref, port.origin.path
            note = diagnostic("XDS3013", ref, path, where=f"port {number}", first=REDIRECTED)
            self._gathered.notes.append(note)
            return False
        if port.address and self._proxy.unprivileged and number < FIRST_UNPRIVILEGED_PORT:
            self._gathered.notes.append(diagnostic("XDS4012", port.origin.ref, port.origin.path, port=number))
            return False
        return True


class Part(msgspec.Struct, frozen=True, eq=False):
    """What one port of the workload comes to."""

    backend: Backend
    chains: tuple[Chain, ...]
    route_table: RouteTable | None
    listener: Listener | None


def _virtual_inbound(inner: tuple[Part, ...], other: str, is_transparent: bool) -> Listener:
    """other: the backend of what comes to ports that nobody declared."""
    rest = Tcp((Destination(other),), other)
    chains = [Chain("virtualInbound-blackhole", ChainMatch(port=INBOUND_PORT), Tcp((), "blackhole"))]
    chains += [chain for part in inner for chain in part.chains]
    http = Http(other, other)
    chains.append(Chain("virtualInbound-catchall-http", ChainMatch(detected_http=True), http, origins=(OWN,)))
    # What is behind a port that nobody declared may speak first as well.
    declared = {part.backend.port.number: part.backend.port.protocol for part in inner}
    silent = {number for number, protocol in declared.items() if protocol is Protocol.TCP}
    silent |= SERVER_FIRST - declared.keys()
    return Listener(
        name="virtualInbound",
        address=EVERY_ADDRESS,
        port=INBOUND_PORT,
        direction=Direction.INBOUND,
        chains=tuple(chains),
        origins=tuple(dict.fromkeys(o for part in inner for o in part.backend.origins)) or (OWN,),
        default_chain=Chain("virtualInbound", ChainMatch(), rest, origins=(OWN,)),
        captures=True,
        transparent=is_transparent,
        silent_ports=tuple(sorted(silent)),
    )


def _port(port: Port, binds_source: bool) -> Part:
    number, protocol, origin = port.port.number, port.port.protocol, port.origin
    made = workload(port.port, port.connections, port.endpoint, origin, binds_source)
    name = names.listener(port.address or EVERY_ADDRESS, number)
    always = ChainMatch(port=0 if port.address else number)
    chains: list[Chain] = []
    table = None
    if port.closed:
        chains.append(Chain(name, always, Tcp((), "closed"), origins=(origin,)))
    elif protocol.is_http or protocol is Protocol.AUTO:
        match = msgspec.structs.replace(always, detected_http=protocol is Protocol.AUTO)
        chains.append(Chain(name, match, Http(made.name, made.name), port.tls, (origin,)))
        table = _route_table(made.name, port.service_port, protocol, origin)
    if not protocol.is_http and not port.closed:
        tcp = Tcp((Destination(made.name),), made.name)
        chains.append(Chain(f"{name}_tcp", always, tcp, port.tls, (origin,)))
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
