"""ExternalNames: other names of a service of the mesh, or of a host outside of it.

One that leads to a service of the mesh, perhaps by way of others, is an alias of that: its clients get the service's
routes, policies and ports, as in Istio. One that leads out of the mesh is a service that the proxy resolves by DNS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.mesh.destination_rules import Rules
from xds_server.mesh.local_addresses import reason_to_refuse
from xds_server.mesh.model import Service
from xds_server.mesh.visibility import visible

ByHost = Mapping[str, Mapping[Any, Service]]
"""Host -> its services."""
_PATH = ("spec", "externalName")


class ExternalName(msgspec.Struct, frozen=True):
    """An ExternalName, and what it means. target: the host of another service that it stands for; empty for itself."""

    service: core.Service
    host: str
    exported_to: frozenset[str]
    target: str = ""


def external_name(
    name: ExternalName, listed: Mapping[str, ExternalName], known: ByHost
) -> tuple[ExternalName | None, tuple[Diagnostic, ...]]:
    """What an ExternalName leads to; None when it cannot be used. listed: all ExternalNames, by host.
    known: the services of the mesh that are none."""
    chain = _chain(name, listed, known)
    problem = reason_to_refuse(chain[-1])
    ref = name.service.ref
    if problem:
        return None, (diagnostic("XDS6001", ref, _PATH, name=chain[-1], reason=problem),)
    if chain[-1] in chain[:-1]:
        return None, (diagnostic("XDS3030", ref, _PATH, loop=" -> ".join(chain)),)
    leads_in = _seen(chain[-1], name, known)
    target = chain[-1] if leads_in else chain[-2] if len(chain) > 2 else ""
    return msgspec.structs.replace(name, target=target), ()


def _chain(start: ExternalName, listed: Mapping[str, ExternalName], known: ByHost) -> list[str]:
    """The hosts from an ExternalName to where it leads; the last stands in it twice when that is back to itself."""
    chain = [start.host]
    here: ExternalName | None = start
    while here is not None:
        name = here.service.spec.external_name.lower().rstrip(".")
        chain.append(name)
        if name in chain[:-1] or _seen(name, start, known):
            break
        here = listed.get(name)
        if here is not None and not visible(here.exported_to, start.service.metadata.namespace):
            break
    return chain


def _seen(host: str, by: ExternalName, known: ByHost) -> bool:
    return any(visible(service.exported_to, by.service.metadata.namespace) for service in known.get(host, {}).values())


def port_notes(name: ExternalName, target: Service) -> list[Diagnostic]:
    """The ports that an alias declares and its target does not have."""
    ports = {port.number for port in target.ports}
    listed = ", ".join(map(str, sorted(ports))) or "none"
    return [
        diagnostic(
            "XDS4036", name.service.ref, ("spec", "ports", index), target=target.host, port=port.port, ports=listed
        )
        for index, port in enumerate(name.service.spec.ports)
        if port.protocol == "TCP" and port.port not in ports
    ]


def overruled(
    targets: Mapping[str, tuple[object, Service]],
    routes: Mapping[str, Iterable[tuple[VirtualService, int]]],
    rules: Mapping[str, Mapping[Any, Rules]],
) -> Iterator[Diagnostic]:
    """What is written for an alias and not for the service that it leads to, whose routes and policies count.
    targets: by alias. routes, rules: by host; of routes also the place of the host among their hosts."""
    for host, (_, target) in targets.items():
        for service, index in routes.get(host, ()):
            path = ("spec", "hosts", index)
            yield diagnostic("XDS4037", service.ref, path, host=host, target=target.host)
        for same in rules.get(host, {}).values():
            for origin in same.origins:
                yield diagnostic("XDS4037", origin.ref, ("spec", "host"), host=host, target=target.host)
