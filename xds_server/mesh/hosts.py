"""Hosts with wildcards, and which VirtualServices a Gateway's server takes."""

from __future__ import annotations

from collections.abc import Iterable

from xds_server.kube.istio.gateway import Gateway
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.mesh import names


def narrower(one: str, other: str) -> str | None:
    """The hosts that both `a.example.com` and `*.example.com` stand for; None when there are none."""
    if one == other or _covers(one, other):
        return other
    return one if _covers(other, one) else None


def _covers(wildcard: str, host: str) -> bool:
    if not wildcard.startswith("*"):
        return False
    return host.endswith(wildcard[1:]) and host not in (wildcard[1:], wildcard[2:])


def most_specific(host: str, patterns: Iterable[str]) -> str | None:
    """The pattern that names the host, or else the longest wildcard that stands for it."""
    fitting = [pattern for pattern in patterns if pattern == host or _covers(pattern, host)]
    return max(fitting, key=lambda pattern: (not pattern.startswith("*"), len(pattern)), default=None)


def server_host(text: str, gateway_namespace: str) -> tuple[str, str]:
    """`ns/host` of a Gateway's server -> (namespace of the VirtualServices it takes, host)."""
    namespace, slash, host = text.rpartition("/")
    if not slash:
        return "*", host.lower()
    return gateway_namespace if namespace == "." else namespace, host.lower()


def bindable(hosts: Iterable[str], gateway: Gateway, service: VirtualService, host: str) -> tuple[str, ...]:
    """The hosts under which a server of `hosts` serves the host of a VirtualService."""
    full = names.full_host(host, service.metadata.namespace)
    found = []
    for text in hosts:
        namespace, served = server_host(text, gateway.metadata.namespace)
        if namespace in ("*", service.metadata.namespace):
            both = narrower(served, full)
            found += [both] if both else []
    return tuple(dict.fromkeys(found))
