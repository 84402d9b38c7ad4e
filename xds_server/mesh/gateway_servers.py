"""The servers of the Gateways that select one proxy, and which of them can share a port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from xds_server.diagnostics import Diagnostic, ObjectRef, Path, diagnostic
from xds_server.kube import core
from xds_server.kube.istio.gateway import Gateway, Server
from xds_server.mesh import checks
from xds_server.mesh.endpoints import selects
from xds_server.mesh.load_balancers import sends_proxy_headers
from xds_server.mesh.model import Protocol
from xds_server.mesh.names import GatewayRoutes
from xds_server.mesh.origin import Origin
from xds_server.mesh.protocols import declared_protocol
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Key, age
from xds_server.mesh.selection import ANY_NAMESPACE, SelectorsView, selecting

EVERY_ADDRESS = "0.0.0.0"
FIRST_UNPRIVILEGED_PORT = 1024


Rank = tuple[str, str, str, int]
"""The age of a server's Gateway, and its place in it."""


class BoundServer(msgspec.Struct, frozen=True):
    """One server of a Gateway. port: where the proxy listens; the clients' port is `server.port.number`.
    hosts: those of the server's that it serves, as written.
    udp_port: where datagrams to the clients' port arrive; 0 when no Service of the gateway has that port for UDP.
    proxied: connections begin with PROXY headers."""

    gateway: Gateway
    index: int
    server: Server
    address: str
    port: int
    protocol: Protocol
    hosts: tuple[str, ...]
    udp_port: int = 0
    proxied: bool = False

    @property
    def rank(self) -> Rank:
        """By which that of the oldest Gateway comes first."""
        return (*age(self.gateway), self.index)

    @property
    def path(self) -> Path:
        return ("spec", "servers", self.index)

    @property
    def origin(self) -> Origin:
        return Origin(self.gateway.ref, self.path)

    @property
    def gateway_key(self) -> Key:
        return (self.gateway.metadata.namespace, self.gateway.metadata.name)

    @property
    def gateway_name(self) -> str:
        return "/".join(self.gateway_key)

    @property
    def tls_mode(self) -> str:
        """Empty for a server without TLS of its own."""
        tls = self.server.tls
        return tls.mode if tls is not None and self.protocol is Protocol.TLS else ""

    @property
    def stat_prefix(self) -> str:
        """The `name` of the server, by which its counters are found; empty for none."""
        return self.server.name

    @property
    def redirects(self) -> bool:
        """Whether plaintext requests are sent to HTTPS."""
        tls = self.server.tls
        return tls is not None and tls.https_redirect and self.protocol.is_http

    @property
    def ends_tls(self) -> bool:
        return self.tls_mode not in ("", "PASSTHROUGH", "AUTO_PASSTHROUGH")

    @property
    def is_https(self) -> bool:
        """Whether HTTP is inside of the TLS that it ends."""
        return self.ends_tls and self.server.port.protocol.upper() == "HTTPS"

    @property
    def route_table(self) -> str:
        bind = self.server.bind
        if not self.is_https:
            return str(GatewayRoutes(self.port, bind))
        return self._https_routes(self.server.port.name)

    @property
    def numbered_route_table(self) -> str:
        """With the server's place in its Gateway."""
        return self._https_routes(f"{self.server.port.name}-{self.index}")

    def _https_routes(self, port_name: str) -> str:
        meta, number = self.gateway.metadata, self.server.port.number
        return str(GatewayRoutes(number, self.server.bind, port_name, meta.name, meta.namespace))


def bound_servers(
    gateway: Gateway, proxy: Proxy, services: SelectorsView[core.Service], notes: list[Diagnostic]
) -> Iterator[BoundServer]:
    """The servers of a Gateway on a proxy; none when it selects others. services: of the mesh."""
    labels = gateway.spec.selector if proxy.labels is None else dict(proxy.labels)
    if not selects(gateway.spec.selector, labels):
        return
    namespace = ANY_NAMESPACE if proxy.labels is None else proxy.namespace
    for bound in _servers(gateway, tuple(selecting(services, namespace, labels)), notes):
        if proxy.unprivileged and bound.port < FIRST_UNPRIVILEGED_PORT:
            notes.append(diagnostic("XDS4012", gateway.ref, (*bound.path, "port", "number"), port=bound.port))
            continue
        if proxy.unprivileged and bound.is_https and 0 < bound.udp_port < FIRST_UNPRIVILEGED_PORT:
            notes.append(diagnostic("XDS4012", gateway.ref, (*bound.path, "port", "number"), port=bound.udp_port))
            bound = msgspec.structs.replace(bound, udp_port=0)
        yield bound


def sharing(servers: Iterable[BoundServer], notes: list[Diagnostic]) -> Iterator[BoundServer]:
    """Those of the servers of one port, the oldest Gateway's first, that can be there beside the first."""
    first: BoundServer | None = None
    for bound in servers:
        if first is not None and _clash(first, bound):
            used = f"{first.server.port.protocol} by {first.gateway.ref}"
            path = (*bound.path, "port")
            notes.append(diagnostic("XDS3006", bound.gateway.ref, path, port=bound.port, used=used))
        else:
            first = first or bound
            yield bound


def _clash(one: BoundServer, other: BoundServer) -> bool:
    """Plaintext HTTP can share a port with plaintext HTTP, TLS with TLS (by SNI), anything else with nothing."""
    if Protocol.TLS in (one.protocol, other.protocol):
        return one.protocol is not other.protocol
    return not (one.protocol.is_http and other.protocol.is_http)


def _servers(gateway: Gateway, services: tuple[core.Service, ...], notes: list[Diagnostic]) -> Iterator[BoundServer]:
    """services: those that select the proxy."""
    ports, udp_ports = (_port_map(services, udp) for udp in (False, True))
    proxied = any(map(sends_proxy_headers, services))
    for index, server in enumerate(gateway.spec.servers):
        path = ("spec", "servers", index)
        protocol = declared_protocol(server.port.protocol)
        if protocol is None or protocol is Protocol.UDP:
            where = (*path, "port", "protocol")
            notes.append(diagnostic("XDS4003", gateway.ref, where, protocol=server.port.protocol))
            continue
        notes += _notes(gateway.ref, path, server, protocol)
        hosts = tuple(text for text in server.hosts if checks.host(text.rpartition("/")[2]) is None)
        if not hosts:
            continue
        number = server.port.number
        address = server.bind or EVERY_ADDRESS
        listens, datagrams = ports.get(number, number), udp_ports.get(number, 0)
        yield BoundServer(gateway, index, server, address, listens, protocol, hosts, datagrams, proxied)


def _notes(ref: ObjectRef, path: Path, server: Server, protocol: Protocol) -> Iterator[Diagnostic]:
    for number, text in enumerate(server.hosts):
        problem = checks.host(text.rpartition("/")[2])
        if problem:
            yield diagnostic("XDS4011", ref, (*path, "hosts", number), value=text, reason=problem)
    tls = server.tls
    if tls is None:
        return
    if protocol is Protocol.TLS and tls.https_redirect:
        reason = "on a server that speaks TLS"
        yield diagnostic("XDS4009", ref, (*path, "tls", "httpsRedirect"), field="httpsRedirect", reason=reason)
    if protocol is not Protocol.TLS and (tls.mode != "PASSTHROUGH" or tls.credential_name or tls.credential_names):
        reason = f"on a server of the protocol {server.port.protocol}; use HTTPS or TLS"
        yield diagnostic("XDS4009", ref, (*path, "tls"), field="tls", reason=reason)


def _port_map(services: tuple[core.Service, ...], udp: bool) -> dict[int, int]:
    """The ports of the Services that select the proxy -> the ports that it listens on (Istio does the same).
    udp: of those that are UDP, else of the others."""
    result: dict[int, int] = {}
    for service in services:
        for port in service.spec.ports:
            if (port.protocol == "UDP") is not udp:
                continue
            target = port.target_port
            if isinstance(target, str):
                target = int(target) if target.isdecimal() else None
            result.setdefault(port.port, target or port.port)
    return result
