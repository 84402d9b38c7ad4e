"""What a proxyless gRPC client sees: `xds:///service.namespace.svc.cluster.local:port` for every service port.

It takes less than Envoy does (gRFC A27, A28, A37, A42, A48): what it would refuse is left out and named. A gRPC server
may take its listener from here too, if it listens on every address.
"""

from __future__ import annotations

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.incremental import Fixed, derived, fixed
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.backends import BackendRef
from xds_server.mesh.inbound_ports import service_ports
from xds_server.mesh.model import (
    Algorithm,
    ApiListener,
    Backend,
    Connections,
    Discovery,
    GrpcServer,
    LoadBalancing,
    Protocol,
    Route,
    RouteTable,
    Service,
    ServicePort,
    VirtualHost,
)
from xds_server.mesh.origin import Origin
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Mesh, beside_lookups, looking
from xds_server.mesh.route_tables import Gathered, Part, Sight, same_part
from xds_server.mesh.scope import EVERYTHING
from xds_server.mesh.service_hosts import ServiceRoutes, mesh_routes
from xds_server.mesh.topology import anywhere, seat_of
from xds_server.mesh.visibility import visible

ANY_ADDRESS = ("0.0.0.0", "::")


def grpc_view(mesh: Mesh, proxy: Proxy, memo: Memo) -> Sight:
    seat = seat_of(mesh, proxy)
    return Sight(seat, memo(_targets, mesh, anywhere(seat), memo), _as_server(mesh, proxy, memo))


def _targets(mesh: Mesh, proxy: Proxy, memo: Memo) -> Fixed[str, Fixed[str, Part]]:
    found = mesh_routes(mesh, proxy.namespace, EVERYTHING.egress, memo)
    lookups, known = looking(mesh, found.by_host)

    def targets(host: str, service: Service) -> Part | None:
        gathered = Gathered()
        routes = ServiceRoutes(known, proxy, found, memo, gathered, lookups.views[-1])
        listeners: list[ApiListener] = []
        tables: list[RouteTable] = []
        for port in service.ports:
            if port.protocol is Protocol.TLS or service.discovery is not Discovery.ENDPOINTS:
                continue
            hosts = (service.host, *(a.host for a in service.aliases if visible(a.exported_to, proxy.namespace)))
            table, notes = _route_table(service, port, routes.of(service, port), hosts)
            gathered.notes += notes
            tables.append(table)
            listeners += [_api_listener(service, port, host) for host in hosts]
        return gathered.part(api_listeners=tuple(listeners), route_tables=tuple(tables)) if tables else None

    key = ("targets", proxy)
    context = (found.by_wildcard, *beside_lookups(mesh))
    return fixed({"targets": derived(memo, key, targets, found.services, lookups, context)})


def _as_server(mesh: Mesh, proxy: Proxy, memo: Memo) -> Part:
    """What the workload asks for when it is a gRPC server that takes its configuration from xDS (gRFC A36), for each
    port to which a service leads."""
    ports, notes = service_ports(mesh, proxy, Connections(), memo) if proxy.labels else ((), ())
    servers = (memo(_grpc_server, address, port.port.number, port.origin) for port in ports for address in ANY_ADDRESS)
    return same_part(memo, Part(grpc_servers=tuple(servers), diagnostics=notes))


def _grpc_server(address: str, port: int, origin: Origin) -> GrpcServer:
    return GrpcServer(names.grpc_server(address, port), address, port, (origin,))


def _api_listener(service: Service, port: ServicePort, host: str) -> ApiListener:
    target = names.virtual_host(host, port.number)
    return ApiListener(target, names.outbound(port.number, "", service.host), (service.origin,))


def _route_table(
    service: Service, port: ServicePort, routes: tuple[Route, ...], hosts: tuple[str, ...]
) -> tuple[RouteTable, tuple[Diagnostic, ...]]:
    notes = tuple(diagnostic("XDS4014", r.origin.ref, r.origin.path, field="corsPolicy") for r in routes if r.cors)
    kept = tuple(msgspec.structs.replace(route, cors=None) if route.cors else route for route in routes)
    domains = tuple(form for host in hosts for form in (names.virtual_host(host, port.number), host))
    host = VirtualHost(domains[0], domains, kept)
    origins = dict.fromkeys((service.origin, *(route.origin for route in routes)))
    return RouteTable(names.outbound(port.number, "", service.host), (host,), tuple(origins), in_client=True), notes


def grpc_backend(backend: Backend, ref: BackendRef) -> tuple[Backend, tuple[Diagnostic, ...]]:
    """The backend as gRPC can use it."""
    notes = []
    policy = backend.policy
    origin = backend.origins[-1]
    if policy.load_balancing.algorithm in (Algorithm.MAGLEV, Algorithm.RANDOM, Algorithm.PASSTHROUGH):
        algorithm = policy.load_balancing.algorithm
        notes.append(diagnostic("XDS4014", origin.ref, origin.path, field=f"load balancing by {algorithm.value}"))
        hashed = algorithm is Algorithm.MAGLEV
        kind = Algorithm.RING_HASH if hashed else Algorithm.ROUND_ROBIN
        balancing = LoadBalancing(kind, policy.load_balancing.hash_key if hashed else None)
        policy = msgspec.structs.replace(policy, load_balancing=balancing)
    key = policy.load_balancing.hash_key
    if key is not None and key.source_ip:  # the client knows no other address than its own (gRFC A42)
        notes.append(diagnostic("XDS4014", origin.ref, origin.path, field="hashing by the client's address"))
        policy = msgspec.structs.replace(policy, load_balancing=LoadBalancing(Algorithm.ROUND_ROBIN))
    if policy.load_balancing.algorithm is Algorithm.LEAST_REQUEST:
        # gRPC's C++ and Python refuse it (gRFC A48 made it an option), and as the default nobody may have asked for it.
        balancing = msgspec.structs.replace(policy.load_balancing, algorithm=Algorithm.ROUND_ROBIN)
        policy = msgspec.structs.replace(policy, load_balancing=balancing)
    outlier = policy.outlier
    if outlier and (outlier.consecutive_5xx or outlier.consecutive_gateway):
        # gRPC counts no consecutive errors (gRFC A50); as many failures with no success between them come nearest.
        least = min(count for count in (outlier.consecutive_5xx, outlier.consecutive_gateway) if count)
        policy = msgspec.structs.replace(policy, outlier=msgspec.structs.replace(outlier, all_failed=least))
    if policy.tls is not None:
        notes.append(diagnostic("XDS4014", origin.ref, origin.path, field="tls"))
        policy = msgspec.structs.replace(policy, tls=None)
    return msgspec.structs.replace(backend, policy=policy, discovery=ref.service.discovery), tuple(notes)
