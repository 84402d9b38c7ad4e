"""CSDS: what each proxy was sent and what became of it (`envoy.service.status.v3.ClientStatusDiscoveryService`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from envoy.admin.v3.config_dump_shared_pb2 import ClientResourceStatus, UpdateFailureState
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.status.v3.csds_pb2 import (
    ClientConfig,
    ClientStatusRequest,
    ClientStatusResponse,
    ConfigStatus,
)
from google.protobuf.any_pb2 import Any as AnyMessage

from xds_server.envoy.resource import SECRET
from xds_server.xds.states import ResourceStatus, State

SERVICE = "envoy.service.status.v3.ClientStatusDiscoveryService"

_CLIENT = {
    State.SYNCED: ClientResourceStatus.ACKED,
    State.STALE: ClientResourceStatus.REQUESTED,
    State.ERROR: ClientResourceStatus.NACKED,
    State.NOT_SENT: ClientResourceStatus.REQUESTED,
}

_MATCHES: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
}


class UnsupportedMatch(ValueError):
    """A matcher that this server does not know; the text names it."""


def client_status(
    request: ClientStatusRequest, proxies: Iterable[tuple[str, Iterable[ResourceStatus]]]
) -> ClientStatusResponse:
    """The answer to a request. proxies: node id and resources of each stream. Raises UnsupportedMatch."""
    contents = not request.exclude_resource_contents
    return ClientStatusResponse(
        config=[
            ClientConfig(node=Node(id=node), generic_xds_configs=_configs(resources, contents))
            for node, resources in proxies
            if _matches(request, node)
        ]
    )


def _matches(request: ClientStatusRequest, node: str) -> bool:
    """Whether any of the matchers takes the node; without matchers, every node."""
    if not request.node_matchers:
        return True
    return any(_matches_node(matcher, node) for matcher in request.node_matchers)


def _matches_node(matcher: Any, node: str) -> bool:
    if matcher.node_metadatas:
        raise UnsupportedMatch("node_metadatas is not supported; match by node_id")
    kind = matcher.node_id.WhichOneof("match_pattern")
    if kind not in _MATCHES:
        raise UnsupportedMatch(f"node_id.{kind} is not supported; use one of {', '.join(_MATCHES)}")
    wanted = getattr(matcher.node_id, kind)
    if matcher.node_id.ignore_case:
        node, wanted = node.lower(), wanted.lower()
    return _MATCHES[kind](node, wanted)


def _configs(resources: Iterable[ResourceStatus], contents: bool) -> Iterator[ClientConfig.GenericXdsConfig]:
    for status in resources:
        resource = status.resource
        # Private keys are nobody's business here.
        shown = contents and resource.type_url != SECRET
        yield ClientConfig.GenericXdsConfig(
            type_url=resource.type_url,
            name=resource.name,
            version_info=status.version,
            xds_config=AnyMessage(type_url=resource.type_url, value=resource.body) if shown else None,
            client_status=_CLIENT[status.state],
            config_status=ConfigStatus.Value(status.state),
            error_state=UpdateFailureState(details=status.error, version_info=resource.version)
            if status.error or status.state is State.ERROR
            else None,
        )
