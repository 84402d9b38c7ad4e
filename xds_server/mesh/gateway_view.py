"""What a gateway sees: the servers of the Gateways that select it, and only what their routes lead to."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

from xds_server.incremental import Fixed, derived, fixed, partitioned
from xds_server.kube.istio.gateway import Gateway
from xds_server.memo import Memo
from xds_server.mesh.gateway_chains import Claim, claims
from xds_server.mesh.gateway_hosts import gateway_hosts
from xds_server.mesh.gateway_ports import OpenPort, Port, PortView, Served, quic_listener
from xds_server.mesh.gateway_servers import BoundServer, bound_servers
from xds_server.mesh.model import Chain
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.proxy_secrets import ProxySecrets
from xds_server.mesh.resolve import Key, Mesh, beside_lookups, looking
from xds_server.mesh.route_tables import Gathered, Part, Sight
from xds_server.mesh.server_tls import server_tls


def gateway_view(mesh: Mesh, proxy: Proxy, memo: Memo) -> Sight:
    # All of the proxy that makes a difference to any of this; to its backends more does.
    seat = Proxy(proxy.kind, proxy.namespace, proxy.labels, unprivileged=proxy.unprivileged)
    gateways = _gateways(mesh, seat, memo)
    ports = _ports(mesh, seat, gateways, memo)
    hosts, tables = gateway_hosts(mesh, seat, ports, memo)
    parts: dict[str, Fixed[Any, Part]] = {
        "gateways": derived(memo, ("gateways' parts", seat), lambda _, made: made.part, gateways),
        "ports": derived(memo, ("ports' parts", seat), lambda _, made: made.part, ports),
        "quic": _over_quic(seat, ports, memo),
        "hosts": hosts,
        "tables": tables,
    }
    return Sight(proxy, fixed(parts))


class _Served(NamedTuple):
    """What a Gateway comes to."""

    servers: tuple[Served, ...]
    part: Part


def _gateways(mesh: Mesh, proxy: Proxy, memo: Memo) -> Fixed[Key, _Served]:
    lookups, seen = looking(mesh, mesh.kubernetes_services)
    services = lookups.views[-1]

    def serve(_: Key, gateway: Gateway) -> _Served | None:
        gathered = Gathered()
        secrets = ProxySecrets(seen, proxy, memo, gathered)
        found = tuple(
            Served(server, server_tls(server, secrets, gathered.notes) if server.ends_tls else None)
            for server in bound_servers(gateway, proxy, services, gathered.notes)
        )
        return _Served(found, gathered.part()) if found or gathered.notes else None

    return derived(memo, ("gateways", proxy), serve, mesh.gateways, lookups)


def _ports(mesh: Mesh, proxy: Proxy, gateways: Fixed[Key, _Served], memo: Memo) -> Fixed[Port, OpenPort]:
    # An equal value stays the same object, so that a new certificate alone opens no port anew.
    served = derived(memo, ("servers", proxy), lambda _, made: made.servers, gateways)
    passing = partitioned(memo, ("passing", proxy), _passing, served)
    taken = partitioned(memo, ("taken", proxy), _by_server, claims(mesh, ("connections", proxy), passing, memo))
    lookups, seen = looking(mesh, taken)
    claimed = lookups.views[-1]

    def opened(port: Port, servers: Mapping[Any, Served]) -> OpenPort:
        return PortView(seen, proxy, claimed, memo).open(port, (servers[rank] for rank in sorted(servers)))

    by_port = partitioned(memo, ("by port", proxy), _by_port, served)
    return derived(memo, ("ports", proxy), opened, by_port, lookups, beside_lookups(mesh))


def _by_port(_: Key, servers: tuple[Served, ...]) -> Iterator[tuple[Port, Hashable, Served]]:
    for served in servers:
        yield (served.server.address, served.server.port), served.server.rank, served


def _passing(key: Key, servers: tuple[Served, ...]) -> Iterator[tuple[Key, Hashable, tuple[Hashable, BoundServer]]]:
    """Those that pass connections on."""
    for server, _ in servers:
        if not (server.protocol.is_http or server.is_https):
            yield key, server.rank, (server.rank, server)


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
