"""Who the synthetic Envoys say they are."""

from __future__ import annotations

import ipaddress
from typing import Any

from envoy.config.core.v3.base_pb2 import Node
from google.protobuf.json_format import ParseDict, ParseError

from xds_server.version import __version__

NETWORK = ipaddress.ip_network("198.18.0.0/15")
"""Addresses for tests of load (RFC 2544): the proxies in the ids are there, where the id of none is given."""


def node(values: dict[str, Any]) -> Node:
    """The node that all are like, of plain values such as those in a bootstrap. Raises ValueError."""
    try:
        message = ParseDict(values, Node(), ignore_unknown_fields=True)
    except (ParseError, TypeError, AttributeError) as error:
        raise ValueError(f"the node is not understood: {error}") from None
    if "grpc" in (_text(message, "ROLE"), _text(message, "GENERATOR")):
        raise ValueError("these are Envoys; gRPC clients ask for other things")
    message.cluster = message.cluster or _text(message, "NAMESPACE") or "default"
    if not message.user_agent_name:
        message.user_agent_name, message.user_agent_version = "xds-server-loadtest", __version__
    return message


def numbered(like: Node, number: int) -> Node:
    """A node of its own: the id has the number in it, as the name of a pod where it is an id of Istio."""
    kind, address, pod, domain = _parts(like)
    copy = Node()
    copy.CopyFrom(like)
    if not kind:
        copy.id = f"{like.id}-{number}"
        return copy
    name, dot, namespace = pod.partition(".")
    where = address or NETWORK[number % (NETWORK.num_addresses - 2) + 1]
    copy.id = f"{kind}~{where}~{name}-{number}{dot}{namespace}~{domain}"
    return copy


def _text(like: Node, key: str) -> str:
    fields = like.metadata.fields
    return str(fields[key].string_value) if key in fields else ""


def _parts(like: Node) -> tuple[str, str, str, str]:
    """The parts of Istio's node id, or four empty ones. Without an id, one is made of the metadata."""
    if like.id.count("~") == 3:
        kind, address, pod, domain = like.id.split("~")
        return kind, address, pod, domain
    if like.id:
        return "", "", "", ""
    namespace = _text(like, "NAMESPACE") or "default"
    kind = "sidecar" if _text(like, "ROLE") == "sidecar" else "router"
    return kind, "", f"loadtest.{namespace}", f"{namespace}.svc.cluster.local"
