"""What a gateway sees: the servers of the Gateways that select it, and only what their routes lead to."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

from xds_server.incremental import Fixed, Lookups, derived, fixed, partitioned, rekeyed
from xds_server.kube.istio.gateway import Gateway
from xds_server.memo import Memo
from xds_server.mesh.gateway_chains import Claim, claims
from xds_server.mesh.gateway_hosts import gateway_hosts
from xds_server.mesh.gateway_ports import OpenPort, Port, PortView, quic_listener
from xds_server.mesh.gateway_servers import BoundServer, Rank, bound_servers, sharing
from xds_server.mesh.model import Chain, ServerTLS
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.proxy_secrets import ProxySecrets
from xds_server.mesh.resolve import Key, Mesh, beside_lookups, looking
from xds_server.mesh.route_tables import Gathered, Part, Sight
from xds_server.mesh.server_tls import server_tls


def gateway_view(mesh: Mesh, proxy: Proxy, memo: Memo) -> Sight:
    # All of the proxy that makes a difference to any of this; to its backends more does.
    seat = Proxy(proxy.kind, proxy.namespace, proxy.labels, unprivileged=proxy.unprivileged)
    gateways = _gateways(mesh, seat, memo)
    shared = _shared(seat, gateways, memo)
    secured = _secured(mesh, seat, shared, memo)
    ports = _ports(mesh, seat, shared, secured, memo)
    hosts, tables = gateway_hosts(mesh, seat, ports, memo)
    parts: dict[str, Fixed[Any, Part]] = {
        "gateways": derived(memo, ("parts of gateways", seat), lambda _, made: made.part, gateways),
        "shared": derived(memo, ("parts of shared", seat), lambda _, made: made.part, shared),
        "secured": derived(memo, ("parts of secured", seat), lambda _, made: made.part, secured),
        "ports": derived(memo, ("parts of ports", seat), lambda _, made: made.part, ports),
        "quic": _over_quic(seat, ports, memo),
        "hosts": hosts,
        "tables": tables,
    }
    return Sight(proxy, fixed(parts))


class _Servers(NamedTuple):
    """Those of a Gateway, or of a port."""

    servers: tuple[BoundServer, ...]
    part: Part


class _Secured(NamedTuple):
    """tls: None when the server cannot be served."""

    tls: ServerTLS | None
    part: Part


def _gateways(mesh: Mesh, proxy: Proxy, memo: Memo) -> Fixed[Key, _Servers]:
    lookups = Lookups(mesh.kubernetes_services)
    (services,) = lookups.views

    def bound(_: Key, gateway: Gateway) -> _Servers | None:
        gathered = Gathered()
        found = tuple(bound_servers(gateway, proxy, services, gathered.notes))
        return _Servers(found, gathered.part()) if found or gathered.notes else None

    return derived(memo, ("gateways", proxy), bound, mesh.gateways, lookups)


def _shared(proxy: Proxy, gateways: Fixed[Key, _Servers], memo: Memo) -> Fixed[Port, _Servers]:
    """The servers that share a port, the oldest Gateway's first."""

    def share(_: Port, servers: Mapping[Rank, BoundServer]) -> _Servers:
        gathered = Gathered()
        found = tuple(sharing((servers[rank] for rank in sorted(servers)), gathered.notes))
        return _Servers(found, gathered.part())

    return derived(memo, ("shared", proxy), share, partitioned(memo, ("by port", proxy), _by_port, gateways))


def _by_port(_: Key, made: _Servers) -> Iterator[tuple[Port, Rank, BoundServer]]:
    for server in made.servers:
        yield (server.address, server.port), server.rank, server


def _secured(mesh: Mesh, proxy: Proxy, shared: Fixed[Port, _Servers], memo: Memo) -> Fixed[Rank, _Secured]:
    """The servers that end TLS."""
    ending, _ = rekeyed(memo, ("ending", proxy), {"": shared}, _ending_tls)
    lookups, seen = looking(mesh)

    def secure(_: Rank, server: BoundServer) -> _Secured:
        gathered = Gathered()
        tls = server_tls(server, ProxySecrets(seen, proxy, memo, gathered), gathered.notes)
        return _Secured(tls, gathered.part())

    return derived(memo, ("secured", proxy), secure, ending, lookups)


def _ending_tls(made: _Servers) -> Iterator[tuple[Rank, BoundServer]]:
    for server in made.servers:
        if server.ends_tls:
            yield server.rank, server


def _ports(
    mesh: Mesh, proxy: Proxy, shared: Fixed[Port, _Servers], secured: Fixed[Rank, _Secured], memo: Memo
) -> Fixed[Port, OpenPort]:
    # An equal value stays the same object, so that a new certificate alone opens no port anew.
    servers = derived(memo, ("servers", proxy), lambda _, made: made.servers, shared)
    tls = derived(memo, ("tls", proxy), lambda _, made: made.tls, secured)
    passing = partitioned(memo, ("passing", proxy), _passing, servers)
    taken = partitioned(memo, ("taken", proxy), _by_server, claims(mesh, ("connections", proxy), passing, memo))
    lookups, seen = looking(mesh, taken, tls)
    claimed, ended = lookups.views[-2:]

    def opened(port: Port, found: tuple[BoundServer, ...]) -> OpenPort:
        return PortView(seen, proxy, ended, claimed, memo).open(port, found)

    return derived(memo, ("ports", proxy), opened, servers, lookups, beside_lookups(mesh))


def _passing(_: Port, servers: tuple[BoundServer, ...]) -> Iterator[tuple[Key, Rank, tuple[Rank, BoundServer]]]:
    """Those that pass connections on, by Gateway."""
    for server in servers:
        if not (server.protocol.is_http or server.is_https):
            yield server.gateway_key, server.rank, (server.rank, server)


def _by_server(key: Key, found: tuple[Claim, ...]) -> Iterator[tuple[Hashable, Hashable, Claim]]:
    for claim in found:
        yield claim.place, (claim.host, key), claim


def _over_quic(proxy: Proxy, ports: Fixed[Port, OpenPort], memo: Memo) -> Fixed[Port, Part]:
    def spread(port: Port, made: OpenPort) -> Iterator[tuple[Port, Hashable, Chain]]:
        for index, (over, chain) in enumerate(made.quic):
            yield over, (port, index), chain

    def listen(port: Port, chains: Mapping[Any, Chain]) -> Part:
        gathered = Gathered()
        listener = quic_listener(port, (chains[place] for place in sorted(chains)), gathered.notes)
        return gathered.part(listeners=(listener,))

    return derived(memo, ("quic", proxy), listen, partitioned(memo, ("over quic", proxy), spread, ports))
