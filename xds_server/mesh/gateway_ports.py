"""What listens on a port of a gateway: the filter chains of its servers, and the route tables that these name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.memo import Memo
from xds_server.mesh.gateway_chains import Claimed, PassingChains, served_names, without_doubles
from xds_server.mesh.gateway_servers import BoundServer, Rank
from xds_server.mesh.hosts import most_specific, server_host
from xds_server.mesh.model import Chain, ChainMatch, Direction, Http, Listener, Protocol, ServerTLS
from xds_server.mesh.names import listener as listener_name
from xds_server.mesh.names import quic_listener as quic_listener_name
from xds_server.mesh.origin import Origin
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered, Part

Port = tuple[str, int]
"""Address and number."""
Hosts = frozenset[str]


class ServedTable(msgspec.Struct, frozen=True):
    """What the virtual hosts of a route table have in common. ours: hosts of `servers`; inside: hosts of others within
    the wildcards of these. elsewhere: hosts for which other connections are to be used.
    redirected: hosts of plaintext servers that send all to HTTPS. http3_port: the clients' port where the same is
    served over QUIC; 0 for none."""

    name: str
    servers: tuple[BoundServer, ...]
    ours: Hosts
    inside: Hosts = frozenset()
    elsewhere: Hosts = frozenset()
    redirected: Hosts = frozenset()
    http3_port: int = 0

    @property
    def port(self) -> int:
        return self.servers[0].port


class OpenPort(NamedTuple):
    """quic: chains that are served over UDP too, and where."""

    part: Part
    tables: tuple[ServedTable, ...] = ()
    quic: tuple[tuple[Port, Chain], ...] = ()


class PortView:
    """Collects what one port comes to; lives only while that is made.

    tls: what servers end, by their ranks, none for those that cannot be served. claimed: what the servers that pass
    connections on take."""

    def __init__(self, mesh: Mesh, proxy: Proxy, tls: Mapping[Rank, ServerTLS], claimed: Claimed, memo: Memo) -> None:
        self._tls = tls
        self._gathered = Gathered()
        self._passing = PassingChains(mesh, proxy, claimed, memo, self._gathered)
        self._tables: list[ServedTable] = []
        self._quic: list[tuple[Port, Chain]] = []

    def open(self, port: Port, servers: tuple[BoundServer, ...]) -> OpenPort:
        """servers: those that share the port, the oldest Gateway's first."""
        first = servers[0]
        if first.protocol.is_http:
            found: Iterator[Chain] = iter([self._http_chain(servers)])
        elif first.protocol is Protocol.TLS:
            found = self._tls_chains(servers)
        else:
            found = (chain for server in servers for chain in self._told_if_none(server, self._passing.tcp(server)))
        chains = without_doubles(found, self._gathered.notes)
        listeners = (_listener(port, chains, servers),) if chains else ()
        return OpenPort(self._gathered.part(listeners=listeners), tuple(self._tables), tuple(self._quic))

    def _told_if_none(self, server: BoundServer, chains: Iterable[Chain]) -> Iterator[Chain]:
        found = tuple(chains)
        if not found:
            self._gathered.notes.append(diagnostic("XDS4025", server.gateway.ref, server.path))
        yield from found

    def _http_chain(self, servers: tuple[BoundServer, ...]) -> Chain:
        name = servers[0].route_table
        redirected = _hosts(server for server in servers if server.redirects)
        self._tables.append(ServedTable(name, servers, _hosts(servers), redirected=redirected))
        return Chain(name, ChainMatch(), _http(name, servers), origins=_origins(servers))

    def _tls_chains(self, servers: tuple[BoundServer, ...]) -> Iterator[Chain]:
        yield from self._https_chains(server for server in servers if server.is_https)
        for server in servers:
            if server.is_https:
                continue
            if server.ends_tls:
                tls = self._tls.get(server.rank)
                yield from self._told_if_none(server, self._passing.tcp(server, tls)) if tls else ()
            elif server.tls_mode == "AUTO_PASSTHROUGH":
                yield from self._passing.auto_passthrough(server)
            elif server.tls_mode == "PASSTHROUGH":
                yield from self._told_if_none(server, self._passing.passthrough(server))
            else:
                self._gathered.notes.append(diagnostic("XDS5003", server.gateway.ref, (*server.path, "tls")))

    def _https_chains(self, https: Iterable[BoundServer]) -> Iterator[Chain]:
        """Servers with the same certificates and settings share one chain and one route table.

        A browser uses an HTTP/2 connection for every host that the certificate is good for. What came for a host of
        another chain is answered 421, on which it opens a new connection (RFC 9110, 15.5.20; istio#9429)."""
        groups: dict[ServerTLS, list[BoundServer]] = {}
        taken: dict[str, tuple[BoundServer, ServerTLS]] = {}
        for server in https:
            tls = self._tls.get(server.rank)
            free = self._free(server, tls, taken) if tls is not None else None
            if tls is not None and free is not None:
                groups.setdefault(tls, []).append(free)
        everyone = _hosts(server for group in groups.values() for server in group)
        used: set[str] = set()
        for tls, same in groups.items():
            servers = tuple(same)
            first = servers[0]
            name = first.route_table if first.route_table not in used else first.numbered_route_table
            used.add(name)
            quic = self._asking_for_quic(servers, tls)
            self._tables.append(_table(name, servers, everyone, quic.server.port.number if quic else 0))
            names = [served_names(server) for server in servers]
            every = () if () in names else tuple(sorted({name for some in names for name in some}))
            chain = Chain(name, ChainMatch(every, tls=True), _http(name, servers), tls, _origins(servers))
            if quic:
                twin = replace(chain, tls=replace(tls, alpn=("h3",)))
                self._quic.append(((quic.address, quic.udp_port), twin))
            yield chain

    def _asking_for_quic(self, servers: Iterable[BoundServer], tls: ServerTLS) -> BoundServer | None:
        """The first server whose port is UDP too; None when there is none. QUIC has TLS 1.3 inside, and Envoy would
        use it whatever the maximum."""
        found = next((server for server in servers if server.udp_port), None)
        if found is not None and tls.max_version not in ("", "1.3"):
            path = (*found.path, "tls", "maxProtocolVersion")
            self._gathered.notes.append(
                diagnostic("XDS5011", found.gateway.ref, path, maximum=f"TLS {tls.max_version}")
            )
            return None
        return found

    def _free(
        self, server: BoundServer, tls: ServerTLS, taken: dict[str, tuple[BoundServer, ServerTLS]]
    ) -> BoundServer | None:
        """The server without the hosts that another chain has; None when none is left."""
        kept = []
        for text in server.hosts:
            host = server_host(text, "")[1]
            first, same = taken.setdefault(host, (server, tls))
            if same == tls:
                kept.append(text)
            else:
                path = (*server.path, "hosts", server.server.hosts.index(text))
                note = diagnostic("XDS3008", server.gateway.ref, path, host=host, first=first.origin)
                self._gathered.notes.append(note)
        return replace(server, hosts=tuple(kept)) if kept else None


def quic_listener(port: Port, chains: Iterable[Chain], notes: list[Diagnostic]) -> Listener:
    kept = without_doubles(chains, notes)
    origins = tuple(dict.fromkeys(origin for chain in kept for origin in chain.origins))
    return Listener(quic_listener_name(*port), *port, Direction.OUTBOUND, kept, origins, quic=True)


def _listener(port: Port, chains: tuple[Chain, ...], servers: tuple[BoundServer, ...]) -> Listener:
    proxied = servers[0].proxied
    return Listener(listener_name(*port), *port, Direction.OUTBOUND, chains, _origins(servers), proxy_protocol=proxied)


def _table(name: str, servers: tuple[BoundServer, ...], everyone: Hosts, http3_port: int) -> ServedTable:
    """everyone: the hosts of all servers of the port; what is not ours belongs on other connections."""
    ours = _hosts(servers)
    inside: Hosts = frozenset()
    if any(host.startswith("*") for host in ours):
        # Only these are named: a thousand tables that each name a thousand hosts would be too much, and `*` will do.
        inside = frozenset(host for host in everyone - ours if most_specific(host, ours))
    elsewhere = inside | {"*"} if everyone != ours else inside
    return ServedTable(name, servers, ours, inside, elsewhere, http3_port=http3_port)


def _http(name: str, servers: tuple[BoundServer, ...]) -> Http:
    prefix = next((server.stat_prefix for server in servers if server.stat_prefix), name)
    return Http(name, prefix, edge=True)


def _hosts(servers: Iterable[BoundServer]) -> Hosts:
    return frozenset(server_host(text, "")[1] for server in servers for text in server.hosts)


def _origins(servers: Iterable[BoundServer]) -> tuple[Origin, ...]:
    return tuple(server.origin for server in servers)
