"""Which other resources a resource names: what an Envoy asks for next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.transport_sockets.quic.v3.quic_transport_pb2 import QuicDownstreamTransport
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext
from google.protobuf.message import DecodeError

from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

Reference = tuple[str, str]
"""Type URL and name."""


def examined(type_url: str, body: bytes) -> tuple[str, tuple[Reference, ...]]:
    """The name of a resource, empty for a type that is not known, and what it wants from the same stream.

    Raises DecodeError.
    """
    if type_url not in _EXAMINED:
        return "", ()
    message_class, name_of, references = _EXAMINED[type_url]
    message = message_class.FromString(body)
    return name_of(message), tuple(dict.fromkeys(references(message)))


def _of_cluster(cluster: Any) -> Iterator[Reference]:
    if cluster.type == Cluster.EDS and _from_stream(cluster.eds_cluster_config.eds_config):
        yield ENDPOINT, cluster.eds_cluster_config.service_name or cluster.name
    yield from _of_socket(cluster.transport_socket)
    for match in cluster.transport_socket_matches:
        yield from _of_socket(match.transport_socket)


def _of_listener(listener: Any) -> Iterator[Reference]:
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        yield from _of_socket(chain.transport_socket)
        for network_filter in chain.filters:
            manager = _unpacked(network_filter.typed_config, HttpConnectionManager)
            if manager and manager.HasField("rds") and _from_stream(manager.rds.config_source):
                yield ROUTE, manager.rds.route_config_name


def _of_socket(socket: Any) -> Iterator[Reference]:
    for context_class in (UpstreamTlsContext, DownstreamTlsContext, QuicDownstreamTransport):
        context = _unpacked(socket.typed_config, context_class)
        if context is not None:
            tls = context.downstream_tls_context if context_class is QuicDownstreamTransport else context
            yield from _of_tls(tls.common_tls_context)


def _of_tls(common: Any) -> Iterator[Reference]:
    for secret in (
        *common.tls_certificate_sds_secret_configs,
        common.validation_context_sds_secret_config,
        common.combined_validation_context.validation_context_sds_secret_config,
    ):
        if secret.name and _from_stream(secret.sds_config):
            yield SECRET, secret.name


def _from_stream(source: Any) -> bool:
    """Whether the resource comes over the stream that named it."""
    return source.WhichOneof("config_source_specifier") in ("ads", "self")


def _unpacked(typed: Any, message_class: Any) -> Any:
    message = message_class()
    return message if typed.Unpack(message) else None


def _nothing(message: Any) -> Iterator[Reference]:
    return iter(())


def _name(message: Any) -> str:
    return str(message.name)


_EXAMINED: dict[str, tuple[Any, Callable[[Any], str], Callable[[Any], Iterator[Reference]]]] = {
    CLUSTER: (Cluster, _name, _of_cluster),
    ENDPOINT: (ClusterLoadAssignment, lambda message: str(message.cluster_name), _nothing),
    LISTENER: (Listener, _name, _of_listener),
    ROUTE: (RouteConfiguration, _name, _nothing),
    SECRET: (Secret, _name, _nothing),
}

__all__ = ["DecodeError", "Reference", "examined"]
