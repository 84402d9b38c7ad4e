"""What the translation can see of a proxy. Proxies that are equal here form one group and share everything."""

from __future__ import annotations

import enum

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


EVERY_GATEWAY = Proxy(labels=None)
"""A gateway that every Gateway resource selects."""
