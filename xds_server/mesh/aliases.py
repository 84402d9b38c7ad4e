"""ExternalNames: other names of a service of the mesh, or of a host outside of it.

One that leads to a service of the mesh, perhaps by way of others, is an alias of that: its clients get the service's
routes, policies and ports, as in Istio. One that leads out of the mesh is a service that the proxy resolves by DNS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.istio.destination_rule import DestinationRule
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.kube.snapshot import Table
from xds_server.mesh import names
from xds_server.mesh.local_addresses import reason_to_refuse
from xds_server.mesh.model import Service
from xds_server.mesh.services import exports
from xds_server.mesh.visibility import visible

ByHost = Mapping[str, tuple[Service, ...]]
_PATH = ("spec", "externalName")


class ExternalName(msgspec.Struct, frozen=True):
    """An ExternalName, and what it means. target: the host of another service that it stands for; empty for itself."""

    service: core.Service
    host: str
    exported_to: frozenset[str]
    target: str = ""


def external_names(
    services: Iterable[core.Service], known: ByHost, default_export: tuple[str, ...] = ()
) -> tuple[tuple[ExternalName, ...], tuple[Diagnostic, ...]]:
    """Those that can be used. known: the services of the mesh that are no ExternalNames. default_export: the
    namespaces that see those which do not say who does."""
    listed = {each.host: each for each in (_external_name(service, default_export) for service in services)}
    found: list[ExternalName] = []
    notes: list[Diagnostic] = []
    for each in listed.values():
        chain = _chain(each, listed, known)
        problem = reason_to_refuse(chain[-1])
        ref = each.service.ref
        if problem:
            notes.append(diagnostic("XDS6001", ref, _PATH, name=chain[-1], reason=problem))
        elif chain[-1] in chain[:-1]:
            notes.append(diagnostic("XDS3030", ref, _PATH, loop=" -> ".join(chain)))
        else:
            leads_in = _seen(chain[-1], each, known)
            target = chain[-1] if leads_in else chain[-2] if len(chain) > 2 else ""
            found.append(msgspec.structs.replace(each, target=target))
    return tuple(found), tuple(notes)


def _external_name(service: core.Service, default_export: tuple[str, ...]) -> ExternalName:
    meta = service.metadata
    return ExternalName(service, names.service_host(meta.name, meta.namespace), exports(service, default_export))


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
    return any(visible(service.exported_to, by.service.metadata.namespace) for service in known.get(host, ()))


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
    targets: tuple[tuple[str, str], ...], services: Table[VirtualService], rules: Table[DestinationRule]
) -> tuple[Diagnostic, ...]:
    """What is written for an alias and not for the service that it leads to, whose routes and policies count.
    targets: alias -> host."""
    hosts, notes = dict(targets), []
    for service in services.values():
        if service.spec.gateways and names.MESH_GATEWAY not in service.spec.gateways:
            continue
        for index, text in enumerate(service.spec.hosts):
            host = names.full_host(text, service.metadata.namespace)
            if host in hosts:
                path = ("spec", "hosts", index)
                notes.append(diagnostic("XDS4037", service.ref, path, host=host, target=hosts[host]))
    for rule in rules.values():
        host = names.full_host(rule.spec.host, rule.metadata.namespace)
        if host in hosts:
            notes.append(diagnostic("XDS4037", rule.ref, ("spec", "host"), host=host, target=hosts[host]))
    return tuple(notes)
