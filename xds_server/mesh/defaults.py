"""What holds where the user says nothing, and how to say otherwise: for `translate --explain-defaults`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from xds_server.mesh.model import (
    Algorithm,
    Backend,
    ClientTLS,
    Connections,
    Discovery,
    Forward,
    Http,
    Listener,
    Route,
    ServerTLS,
    View,
)
from xds_server.mesh.placement import DEFAULT_OUTLIER
from xds_server.mesh.routes.actions import DEFAULT_RETRY

_CONNECTIONS = Connections()


class Default(NamedTuple):
    """what: in words. value: what holds. field: what changes it."""

    what: str
    value: str
    field: str


class Applied(NamedTuple):
    """A default, and the names of what it holds for."""

    default: Default
    names: tuple[str, ...]


_POOL = "DestinationRule trafficPolicy.connectionPool"
_BACKENDS: tuple[tuple[Default, Callable[[Backend], bool]], ...] = (
    (
        Default("time to connect", "10s", f"{_POOL}.tcp.connectTimeout"),
        lambda backend: backend.policy.connections.connect_timeout == _CONNECTIONS.connect_timeout,
    ),
    (
        Default("choice among endpoints", "LEAST_REQUEST", "DestinationRule trafficPolicy.loadBalancer"),
        lambda backend: (
            backend.discovery is not Discovery.ORIGINAL_DESTINATION
            and backend.policy.load_balancing.algorithm is Algorithm.LEAST_REQUEST
        ),
    ),
    (
        Default("limit of connections", "none", f"{_POOL}.tcp.maxConnections"),
        lambda backend: backend.policy.connections.max_connections is None,
    ),
    (
        Default("limit of waiting requests", "none", f"{_POOL}.http.http1MaxPendingRequests"),
        lambda backend: backend.policy.connections.max_pending_requests is None,
    ),
    (
        Default("limit of requests at a time", "none", f"{_POOL}.http.http2MaxRequests"),
        lambda backend: backend.policy.connections.max_requests is None,
    ),
    (
        Default("limit of retries at a time", "none", f"{_POOL}.http.maxRetries"),
        lambda backend: backend.policy.connections.max_retries is None and backend.policy.retry_budget is None,
    ),
    (
        Default("ejection of failing endpoints", "none", "DestinationRule trafficPolicy.outlierDetection"),
        lambda backend: backend.policy.outlier is None,
    ),
    (
        Default(
            "ejection of failing endpoints, for failover",
            "after 5 gateway errors in a row, for 30s",
            "DestinationRule trafficPolicy.outlierDetection",
        ),
        lambda backend: backend.policy.outlier == DEFAULT_OUTLIER,
    ),
    (
        Default("TLS to the endpoints", "none", "DestinationRule trafficPolicy.tls"),
        lambda backend: backend.policy.tls is None,
    ),
    (
        Default("authorities of the endpoints", "those of the proxy's system", "DestinationRule trafficPolicy.tls"),
        lambda backend: _believes_system(backend.policy.tls),
    ),
    (
        Default("server name asked for", "the host of the request", "DestinationRule trafficPolicy.tls.sni"),
        lambda backend: backend.policy.tls is not None and not backend.policy.tls.sni,
    ),
)

_ROUTES: tuple[tuple[Default, Callable[[Forward], bool]], ...] = (
    (
        Default("time for a request", "no limit", "VirtualService http[].timeout"),
        lambda action: action.timeout is None,
    ),
    (
        Default(
            "retries",
            f"{DEFAULT_RETRY.attempts}, on {', '.join(DEFAULT_RETRY.on)}: never of a request that may be processed",
            "VirtualService http[].retries",
        ),
        lambda action: (
            action.retry is not None
            and (action.retry.attempts, action.retry.on) == (DEFAULT_RETRY.attempts, DEFAULT_RETRY.on)
        ),
    ),
)

_LISTENERS: tuple[tuple[Default, Callable[[Listener], bool]], ...] = (
    (
        Default("lowest version of TLS", "1.2", "Gateway servers[].tls.minProtocolVersion"),
        lambda listener: any(tls.min_version == "1.2" for tls in _ended(listener)),
    ),
    (
        Default("cipher suites up to TLS 1.2", "Envoy's own", "Gateway servers[].tls.cipherSuites"),
        lambda listener: any(not tls.cipher_suites for tls in _ended(listener)),
    ),
    (
        Default("what clients say about themselves", "not believed", "nothing; the clients of a gateway are strangers"),
        lambda listener: any(isinstance(chain.traffic, Http) and chain.traffic.edge for chain in listener.chains),
    ),
)


def applied(view: View) -> Iterator[Applied]:
    """The defaults that hold somewhere in a view: those of its backends, routes and listeners."""
    for default, holds in _BACKENDS:
        yield Applied(default, tuple(backend.name for backend in view.backends.values() if holds(backend)))
    routes = [route for table in view.route_tables.values() for host in table.virtual_hosts for route in host.routes]
    for default, of_action in _ROUTES:
        found = (route for route in routes if isinstance(route.action, Forward) and of_action(route.action))
        yield Applied(default, tuple(dict.fromkeys(_place(route) for route in found)))
    for default, at in _LISTENERS:
        yield Applied(default, tuple(listener.name for listener in view.listeners.values() if at(listener)))


def _place(route: Route) -> str:
    return str(route.origin)


def _ended(listener: Listener) -> Iterator[ServerTLS]:
    return (chain.tls for chain in listener.chains if chain.tls is not None)


def _believes_system(tls: ClientTLS | None) -> bool:
    return tls is not None and tls.verify and not tls.trust
