"""The services of each host, the one that wins first, complete with the addresses and aliases that others give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.incremental import EMPTY, Fixed, Lookups, derived, fixed, partitioned, rekeyed
from xds_server.kube import core
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.aliases import ExternalName, port_notes
from xds_server.mesh.located import ServiceKey, service_key
from xds_server.mesh.model import Alias, Service
from xds_server.mesh.services import external_addresses
from xds_server.mesh.visibility import visible
from xds_server.mesh.workloads import Named

Claimed = Fixed[str, dict[ServiceKey, tuple[str, ...]]]


def seen(same: tuple[Service, ...], namespace: str) -> Service | None:
    """Of the services of one host, the one that a client in `namespace` sees: its own namespace's, else the first."""
    found = [service for service in same if visible(service.exported_to, namespace)]
    return next((s for s in found if s.namespace == namespace), found[0]) if found else None


def claimed_addresses(
    services: Fixed[Named, core.Service], hosts: Fixed[str, Fixed[ServiceKey, Service]], memo: Memo, notes: list[Any]
) -> Claimed:
    """Host -> the addresses that its services have outside of the mesh. One belongs to the service whose cluster IP it
    is, else to the oldest that claims it."""

    def claim(key: Named, kube: core.Service) -> tuple[core.Service, tuple[str, ...], tuple[Diagnostic, ...]] | None:
        addresses, said = external_addresses(kube) if kube.spec.type != "ExternalName" else ((), ())
        return (kube, addresses, said) if addresses or said else None

    claims = derived(memo, "claims", claim, services)
    notes.append(derived(memo, "notes on claims", lambda key, found: found[2] or None, claims))
    if not claims:
        return EMPTY
    owners, _ = rekeyed(memo, "owners", {"": hosts}, _addressed)
    found, said = memo(_settled, claims, hosts, owners)
    notes.append(said)
    return found


def _addressed(same: Fixed[ServiceKey, Service]) -> Iterator[tuple[str, Service]]:
    for service in sorted(same.values(), key=_rank, reverse=True):  # what comes last counts
        for address in service.addresses:
            yield address, service


def _settled(
    claims: Fixed[Named, tuple[core.Service, tuple[str, ...], Any]],
    hosts: Fixed[str, Fixed[ServiceKey, Service]],
    owners: Fixed[str, Service],
) -> tuple[Claimed, Fixed[str, tuple[Diagnostic, ...]]]:
    made = [
        (service, kube, addresses)
        for kube, addresses, _ in claims.values()
        for service in hosts.get(names.service_host(kube.metadata.name, kube.metadata.namespace), EMPTY).values()
        if service.origin.ref == kube.ref
    ]
    later: dict[str, Service] = {}
    found: dict[str, dict[ServiceKey, tuple[str, ...]]] = {}
    notes: list[Diagnostic] = []
    for service, kube, addresses in sorted(made, key=lambda each: _rank(each[0])):
        free = []
        for ip in addresses:
            owner = owners.get(ip) or later.setdefault(ip, service)
            if owner is service:
                free.append(ip)
            else:
                path = ("spec", "externalIPs") if ip in kube.spec.external_ips else ("status", "loadBalancer")
                notes.append(diagnostic("XDS3031", kube.ref, path, address=ip, first=owner.origin.ref))
        if free:
            found.setdefault(service.host, {})[service_key(service)] = tuple(free)
    return fixed(found), fixed({"": tuple(notes)})


def ranked_hosts(
    hosts: Fixed[str, Fixed[ServiceKey, Service]],
    claimed: Claimed,
    aliases: Fixed[str, ExternalName],
    memo: Memo,
    notes: list[Any],
) -> Fixed[str, tuple[Service, ...]]:
    """Host -> its services, complete with the addresses claimed for them and with their aliases."""

    def lead(host: str, name: ExternalName) -> Iterator[tuple[str, str, ExternalName]]:
        yield name.target, host, name

    leading = partitioned(memo, "aliases by target", lead, aliases)
    lookups = Lookups(claimed, leading)
    more_addresses, names_of = lookups.views

    def rank(host: str, same: Fixed[ServiceKey, Service]) -> tuple[Service, ...]:
        ranked = tuple(sorted(same.values(), key=_rank))
        claims, leads = more_addresses.get(host, {}), names_of.get(host, {})
        of: dict[Service, list[Alias]] = {}
        for alias, name in sorted(leads.items()):
            target = seen(ranked, name.service.metadata.namespace)
            if target:
                of.setdefault(target, []).append(Alias(alias, name.exported_to))
        return tuple(
            _complete(service, claims.get(service_key(service), ()), tuple(of.get(service, ())), more)
            for service in ranked
            for more in [_more_names(service, ranked) if len(ranked) > 1 else ()]
        )

    by_host = derived(memo, "by host", rank, hosts, lookups)
    notes.append(derived(memo, "clashes", lambda host, same: tuple(_clashes(host, same)) or None, by_host))
    return by_host


def _clashes(host: str, ranked: tuple[Service, ...]) -> Iterator[Diagnostic]:
    for index, service in enumerate(ranked[1:], 1):
        hidden = any(other.namespace == service.namespace for other in ranked[:index])
        effect, first = "nobody reaches this one" if hidden else "", ranked[0].origin.ref
        yield diagnostic("XDS3007", service.origin.ref, (), effect=effect, host=host, first=first)


def _rank(service: Service) -> tuple[object, ...]:
    """A Kubernetes Service before a ServiceEntry, the oldest first."""
    return (service.origin.ref.kind != "Service", service.created, service.namespace, service.name)


def _more_names(service: Service, same: tuple[Service, ...]) -> tuple[str, ...]:
    """The subjectAltNames that a ServiceEntry of the same host adds to a Kubernetes Service, as in Istio; only one of
    its own namespace, or others could say whom its clients believe."""
    if service.origin.ref.kind != "Service":
        return ()
    found = (s.subject_alt_names for s in same if s is not service and s.namespace == service.namespace)
    return tuple(dict.fromkeys(name for names in found for name in names))


def _complete(
    service: Service, addresses: tuple[str, ...], aliases: tuple[Alias, ...], names: tuple[str, ...]
) -> Service:
    if not (addresses or aliases or names):
        return service
    merged = tuple(dict.fromkeys((*service.addresses, *addresses)))
    return msgspec.structs.replace(
        service, addresses=merged, aliases=aliases, subject_alt_names=(*service.subject_alt_names, *names)
    )


def led_to(
    aliases: Fixed[str, ExternalName], by_host: Fixed[str, tuple[Service, ...]], memo: Memo, notes: list[Any]
) -> Fixed[str, tuple[Alias, Service]]:
    lookups = Lookups(by_host)
    known = lookups.views[0]

    def lead(host: str, name: ExternalName) -> tuple[Alias, Service] | None:
        target = seen(known.get(name.target, ()), name.service.metadata.namespace)
        return (Alias(host, name.exported_to), target) if target else None  # None: it hit a bug, which is reported

    led = derived(memo, "aliases led", lead, aliases, lookups)

    names_of = Lookups(aliases)

    def note(host: str, found: tuple[Alias, Service]) -> tuple[Diagnostic, ...] | None:
        return tuple(port_notes(names_of.views[0][host], found[1])) or None

    notes.append(derived(memo, "notes on aliases", note, led, names_of))
    return led
