"""What a cloud's load balancer, which a Service of type LoadBalancer asks for, means to the proxy behind it.

One thing alone: whether connections begin with a PROXY header. Envoy would take that for the first bytes of a
request, or without it wait for it, so both ends must agree. All else is between the Service and its cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core


def _true(value: str) -> bool:
    return value.strip().lower() == "true"


def _said(value: str) -> bool:
    return bool(value.strip()) and value.strip().lower() not in ("false", "none")


def _target_groups(value: str) -> bool:
    pairs = (pair.partition("=") for pair in value.split(","))
    return any(key.strip() == "proxy_protocol_v2.enabled" and _true(enabled) for key, _, enabled in pairs)


PROXY_PROTOCOL: Mapping[str, Callable[[str], bool]] = {
    "service.beta.kubernetes.io/aws-load-balancer-proxy-protocol": _said,  # "*": on all ports
    "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes": _target_groups,
    "service.beta.kubernetes.io/do-loadbalancer-enable-proxy-protocol": _true,
    "service.beta.kubernetes.io/linode-loadbalancer-default-proxy-protocol": _said,  # v1, v2
    "service.beta.kubernetes.io/vultr-loadbalancer-proxy-protocol": _true,
    "service.beta.kubernetes.io/scw-loadbalancer-proxy-protocol-v1": _said,  # true, or ports
    "service.beta.kubernetes.io/scw-loadbalancer-proxy-protocol-v2": _said,
    "service.beta.kubernetes.io/azure-pls-proxy-protocol": _true,
    "load-balancer.hetzner.cloud/uses-proxyprotocol": _true,
    "loadbalancer.openstack.org/proxy-protocol": _said,  # true, v1, v2
    "loadbalancer.ovhcloud.com/proxy-protocol": _said,  # v1, v2
}
"""Annotation -> whether its value switches PROXY headers on. Envoy reads both versions."""

_CLOUDS = (
    "service.beta.kubernetes.io/",
    "service.kubernetes.io/ibm-load-balancer-",
    "load-balancer.hetzner.cloud/",
    "loadbalancer.openstack.org/",
    "loadbalancer.ovhcloud.com/",
    "cloud.google.com/",
    "networking.gke.io/",
    "oci.oraclecloud.com/",
    "oci-network-load-balancer.oraclecloud.com/",
    "metallb.universe.tf/",
    "metallb.io/",
    "kube-vip.io/",
    "external-dns.alpha.kubernetes.io/",
)


def sends_proxy_headers(service: core.Service) -> bool:
    """Whether connections to the proxies that the Service selects begin with PROXY headers."""
    annotations = service.metadata.annotations
    return any(name in annotations and switches(annotations[name]) for name, switches in PROXY_PROTOCOL.items())


def cloud_notes(service: core.Service) -> tuple[Diagnostic, ...]:
    names = [
        name for name in sorted(service.metadata.annotations) if name not in PROXY_PROTOCOL and name.startswith(_CLOUDS)
    ]
    if not names:
        return ()
    return (diagnostic("XDS4032", service.ref, ("metadata", "annotations"), annotations=", ".join(names)),)
