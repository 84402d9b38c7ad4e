"""From an xDS node to the proxy group that it belongs to."""

from __future__ import annotations

from typing import Any

from xds_server.mesh.model import Locality
from xds_server.mesh.proxy import Proxy, proxy_of
from xds_server.xds.request import ProtocolError

_DEPTH = 16  # a Struct nested deeper than this is no metadata of a proxy


def proxy(node: Any) -> Proxy:
    """The group of an `envoy.config.core.v3.Node`. Raises ProtocolError when the node does not say what it must."""
    if node is None:
        raise ProtocolError("the first request of a stream must carry a node")
    if not node.id:
        raise ProtocolError("node.id is empty")
    locality = Locality(node.locality.region, node.locality.zone, node.locality.sub_zone)
    try:
        return proxy_of(node.id, _struct(node.metadata, _DEPTH), locality, node.user_agent_name)
    except ValueError as error:
        raise ProtocolError(f"node {node.id!r}: {error}") from None


def user_agent(node: Any) -> str:
    """`envoy 1.40.0`, `gRPC C-core linux Python 1.85.1`."""
    build = node.user_agent_build_version.version
    number = node.user_agent_version or f"{build.major_number}.{build.minor_number}.{build.patch}"
    return f"{node.user_agent_name} {number}".strip()


def _struct(struct: Any, depth: int) -> dict[str, Any]:
    return {key: _value(value, depth - 1) for key, value in struct.fields.items()}


def _value(value: Any, depth: int) -> Any:
    if depth == 0:
        return None
    match value.WhichOneof("kind"):
        case "struct_value":
            return _struct(value.struct_value, depth)
        case "list_value":
            return [_value(item, depth - 1) for item in value.list_value.values]
        case None | "null_value":
            return None
        case kind:
            return getattr(value, kind)
