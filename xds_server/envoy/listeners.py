"""Listener -> listener (`envoy.config.listener.v3.Listener`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.original_src.v3 import original_src_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2

from xds_server.envoy import tls
from xds_server.envoy.chain_matches import chain_matches, is_tls, quic_match
from xds_server.envoy.http_connections import api_connections, http_connections, served_connections
from xds_server.envoy.proto import address, packed
from xds_server.envoy.resource import CLUSTER, LISTENER, ROUTE, Resource, sealed
from xds_server.envoy.tcp_proxy import clusters, tcp_proxy
from xds_server.incremental import Pieces
from xds_server.mesh.model import ApiListener, Chain, Direction, GrpcServer, Http, Listener

_DIRECTIONS = {Direction.INBOUND: "INBOUND", Direction.OUTBOUND: "OUTBOUND"}


def listener(value: Listener) -> Resource:
    message = _quic_listener(value) if value.quic else _tcp_listener(value)
    of_chains = tuple(dict.fromkeys(origin for chain in _all(value) for origin in chain.origins))
    own = value.origins
    origins = own.followed_by(of_chains) if isinstance(own, Pieces) else (*own, *of_chains)
    return sealed(LISTENER, value.name, message, origins, _references(value))


def _quic_listener(value: Listener) -> Any:
    """Of the listener filters none is needed: QUIC itself tells the server name, and has no PROXY headers."""
    return listener_pb2.Listener(
        name=value.name,
        address={"socket_address": {"protocol": "UDP", "address": value.address, "port_value": value.port}},
        traffic_direction=_DIRECTIONS[value.direction],
        udp_listener_config={"quic_options": {}},
        filter_chains=[
            {**_chain(chain, quic=True), "filter_chain_match": quic_match(chain.match)} for chain in value.chains
        ],
    )


def _tcp_listener(value: Listener) -> Any:
    detects = any(chain.match.detected_http for chain in value.chains)
    inspects = any(is_tls(chain.match) for chain in value.chains)
    return listener_pb2.Listener(
        name=value.name,
        address=address(value.address, value.port),
        traffic_direction=_DIRECTIONS[value.direction],
        bind_to_port=None if value.binds else {"value": False},
        use_original_dst={"value": True} if value.hands_on else None,
        transparent={"value": True} if value.transparent else None,
        listener_filters=list(_listener_filters(value, inspects, detects)),
        # A client that says nothing until the server has spoken is waited for, as in Istio: after a time-out it
        # would be taken for TCP, and so would an HTTP connection that was opened early and is still idle.
        listener_filters_timeout={"seconds": 0} if detects else None,
        continue_on_listener_filters_timeout=detects,
        filter_chains=[
            {**_chain(chain), "filter_chain_match": match}
            for chain in value.chains
            for match in chain_matches(chain.match, both=detects and inspects)
        ],
        default_filter_chain=_chain(value.default_chain) if value.default_chain else None,
    )


def api_listener(value: ApiListener) -> Resource:
    """What a proxyless gRPC client reads (gRFC A27)."""
    message = listener_pb2.Listener(
        name=value.name, api_listener={"api_listener": packed(api_connections(value.route_table))}
    )
    return sealed(LISTENER, value.name, message, value.origins, [(ROUTE, value.route_table)])


def grpc_server(value: GrpcServer) -> Resource:
    """What an xDS-enabled gRPC server reads (gRFC A36). The address must be the one that it listens on."""
    name = "envoy.filters.network.http_connection_manager"
    message = listener_pb2.Listener(
        name=value.name,
        address=address(value.address, value.port),
        traffic_direction="INBOUND",
        filter_chains=[{"filters": [{"name": name, "typed_config": packed(served_connections(value.name))}]}],
    )
    return sealed(LISTENER, value.name, message, value.origins)


def _listener_filters(value: Listener, inspects: bool, detects: bool) -> Iterator[dict[str, Any]]:
    if value.proxy_protocol:  # before all that reads the first bytes
        yield _PROXY_PROTOCOL
    if value.captures:
        yield _ORIGINAL_DESTINATION
    if value.transparent and value.direction is Direction.INBOUND:
        yield _ORIGINAL_SOURCE
    silent = _ports(value.silent_ports)
    if inspects:
        yield {**_TLS_INSPECTOR, **silent}
    if detects:
        yield {**_HTTP_INSPECTOR, **silent}


def _ports(numbers: tuple[int, ...]) -> dict[str, Any]:
    """The destination ports for which a filter is passed over. Two rules are the least that `or_match` takes."""
    rules: list[dict[str, Any]] = [{"destination_port_range": {"start": n, "end": n + 1}} for n in numbers]
    if not rules:
        return {}
    return {"filter_disabled": rules[0] if len(rules) == 1 else {"or_match": {"rules": rules}}}


_PROXY_PROTOCOL = {
    "name": "envoy.filters.listener.proxy_protocol",
    "typed_config": packed(proxy_protocol_pb2.ProxyProtocol()),
}
_ORIGINAL_DESTINATION = {
    "name": "envoy.filters.listener.original_dst",
    "typed_config": packed(original_dst_pb2.OriginalDst()),
}
_ORIGINAL_SOURCE = {
    # The workload sees the client's own address; the mark brings its answers back to the proxy (istio-iptables).
    "name": "envoy.filters.listener.original_src",
    "typed_config": packed(original_src_pb2.OriginalSrc(mark=1337)),
}
_TLS_INSPECTOR = {
    "name": "envoy.filters.listener.tls_inspector",
    "typed_config": packed(tls_inspector_pb2.TlsInspector()),
}
_HTTP_INSPECTOR = {
    "name": "envoy.filters.listener.http_inspector",
    "typed_config": packed(http_inspector_pb2.HttpInspector()),
}


def _chain(chain: Chain, quic: bool = False) -> dict[str, Any]:
    socket = tls.quic_socket if quic else tls.server_socket
    return {
        "name": chain.name,
        "transport_socket": socket(chain.tls) if chain.tls else None,
        "filters": list(_filters(chain, quic)),
    }


def _filters(chain: Chain, quic: bool) -> Iterator[dict[str, Any]]:
    """The network filters. Envoy closes the connections of a chain that has none."""
    traffic = chain.traffic
    if isinstance(traffic, Http):
        name = "envoy.filters.network.http_connection_manager"
        yield {"name": name, "typed_config": packed(http_connections(traffic, quic))}
    elif traffic.destinations:
        yield {"name": "envoy.filters.network.tcp_proxy", "typed_config": packed(tcp_proxy(traffic))}


def _all(value: Listener) -> tuple[Chain, ...]:
    return (*value.chains, value.default_chain) if value.default_chain else value.chains


def _references(value: Listener) -> Iterator[tuple[str, str]]:
    for chain in _all(value):
        yield from tls.references(chain.tls)
        if isinstance(chain.traffic, Http):
            yield ROUTE, chain.traffic.route_table
        else:
            yield from ((CLUSTER, name) for name in clusters(chain.traffic))
