"""What the translation can see of a proxy. Proxies that are equal here form one group and share all."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import msgspec

from xds_server.mesh.model import Labels, Locality


class ProxyKind(enum.StrEnum):
    GATEWAY = "gateway"
    SIDECAR = "sidecar"
    GRPC = "grpc"  # a proxyless gRPC client


class Interception(enum.StrEnum):
    """How traffic gets into a sidecar (`INTERCEPTION_MODE`)."""

    NONE = "NONE"  # listeners bind their own ports
    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"


class Proxy(msgspec.Struct, frozen=True):
    """One group of proxies; hashable, so that it is the group's key.

    labels: None selects every Gateway (what `translate` uses when no proxy is named).
    http_proxy_port: a sidecar's port for HTTP proxy requests (`HTTP_PROXY_PORT`), 0 for none.
    unprivileged: it cannot bind ports below 1024 (`UNPRIVILEGED_POD`).
    node: where it runs (`NODE_NAME`), empty when it does not say.
    dns_capture: a sidecar answers DNS for the services that it sees (`DNS_CAPTURE`).
    """

    kind: ProxyKind = ProxyKind.GATEWAY
    namespace: str = "default"
    labels: Labels | None = ()
    locality: Locality = Locality()
    service_account: str = "default"
    cluster_id: str = "Kubernetes"
    network: str = ""
    interception: Interception = Interception.REDIRECT
    http_proxy_port: int = 0
    unprivileged: bool = False
    dns_capture: bool = False
    node: str = ""


EVERY_GATEWAY = Proxy(labels=None)
"""A gateway that every Gateway resource selects."""


_NOWHERE = Locality()


def proxy_of(node_id: str, metadata: Mapping[str, Any], locality: Locality = _NOWHERE, user_agent: str = "") -> Proxy:
    """The group of a node, from what it says about itself in xDS (`envoy.config.core.v3.Node`).

    Istio's node ids (`router~10.0.0.1~pod.ns~ns.svc.cluster.local`) and metadata are understood; a plain id with
    `metadata.ROLE` as well. Who says nothing is a gateway in the namespace `default`.
    Raises ValueError, with a sentence for the operator, when a value is not understood.
    """
    kind, _, rest = node_id.partition("~")
    pod_and_namespace = rest.split("~")[1] if rest.count("~") == 2 else ""
    labels = _mapping(metadata, "LABELS")
    interception = _text(metadata, "INTERCEPTION_MODE") or Interception.REDIRECT
    if interception not in set(Interception):
        raise ValueError(f"INTERCEPTION_MODE is {interception!r}; it must be one of {', '.join(Interception)}")
    return Proxy(
        kind=_kind(kind, metadata, user_agent),
        namespace=_text(metadata, "NAMESPACE") or pod_and_namespace.rpartition(".")[2] or "default",
        labels=tuple(sorted((str(key), str(value)) for key, value in labels.items())),
        locality=locality,
        service_account=_text(metadata, "SERVICE_ACCOUNT") or "default",
        cluster_id=_text(metadata, "CLUSTER_ID") or "Kubernetes",
        network=_text(metadata, "NETWORK"),
        interception=Interception(interception),
        http_proxy_port=_port(metadata, "HTTP_PROXY_PORT"),
        unprivileged=_text(metadata, "UNPRIVILEGED_POD").lower() == "true",
        node=_text(metadata, "NODE_NAME"),
        dns_capture=_text(metadata, "DNS_CAPTURE").lower() == "true",
    )


def _kind(prefix: str, metadata: Mapping[str, Any], user_agent: str) -> ProxyKind:
    role = _text(metadata, "ROLE")
    if role:
        if role not in set(ProxyKind):
            raise ValueError(f"ROLE is {role!r}; it must be one of {', '.join(ProxyKind)}")
        return ProxyKind(role)
    # Istio's bootstrap for proxyless gRPC says GENERATOR: grpc; a plain one is known by its user agent.
    if _text(metadata, "GENERATOR") == "grpc" or user_agent.startswith(("gRPC", "grpc-")):
        return ProxyKind.GRPC
    return ProxyKind.SIDECAR if prefix == "sidecar" else ProxyKind.GATEWAY


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key, "")
    if not isinstance(value, str | int | float | bool):
        raise ValueError(f"{key} must be a string")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mapping(metadata: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = metadata.get(key) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} must be a map of strings")
    return value


def _port(metadata: Mapping[str, Any], key: str) -> int:
    text = _text(metadata, key) or "0"
    try:
        port = int(float(text))  # a number in a protobuf Struct is a double
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise ValueError(f"{key} is {text!r}; it must be a port number")
    return port
