"""Services of the mesh, from ServiceEntries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, ip_network

from xds_server.diagnostics import Diagnostic, ObjectRef, diagnostic
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.mesh.endpoints import is_ip
from xds_server.mesh.model import Discovery, Protocol, Service, ServicePort
from xds_server.mesh.origin import Origin
from xds_server.mesh.protocols import declared_protocol, port_protocol
from xds_server.mesh.services import Found, annotated_nearness
from xds_server.mesh.visibility import exported_to

AUTOMATIC = IPv4Network("240.240.0.0/16")
"""Reserved for future use by RFC 1112, and never routed; Istio takes it as well."""
OPT_OUT = "networking.istio.io/enable-autoallocate-ip"

_DISCOVERY = {
    "NONE": Discovery.ORIGINAL_DESTINATION,
    "STATIC": Discovery.ENDPOINTS,
    "DNS": Discovery.DNS,
    "DNS_ROUND_ROBIN": Discovery.DNS_ROUND_ROBIN,
    "DYNAMIC_DNS": Discovery.DNS,
}


def entry_services(entry: ServiceEntry, default_export: tuple[str, ...] = ()) -> Found:
    """One service for each host of a ServiceEntry. default_export: who sees them when it does not say."""
    spec, meta = entry.spec, entry.metadata
    notes: list[Diagnostic] = []
    ports = _ports(entry, notes)
    prefers = annotated_nearness(entry, notes)
    addresses = _addresses(entry, notes)
    return tuple(
        Service(
            host=host,
            name=meta.name,
            namespace=meta.namespace,
            ports=ports,
            origin=Origin(entry.ref),
            addresses=addresses or _given(entry, host),
            discovery=_DISCOVERY[spec.resolution],
            external=spec.location == "MESH_EXTERNAL",
            exported_to=exported_to(spec.export_to, meta.namespace, default_export),
            subject_alt_names=spec.subject_alt_names,
            created=meta.creation_timestamp or "",
            prefers=prefers,
        )
        for host in dict.fromkeys(host.lower().rstrip(".") for host in spec.hosts)
    ), tuple(notes)


def _ports(entry: ServiceEntry, notes: list[Diagnostic]) -> tuple[ServicePort, ...]:
    found = []
    for index, port in enumerate(entry.spec.ports):
        path = ("spec", "ports", index)
        protocol = declared_protocol(port.protocol) if port.protocol else port_protocol(port.number, port.name, "", "")
        if protocol is None:
            notes.append(diagnostic("XDS4003", entry.ref, (*path, "protocol"), protocol=port.protocol))
            protocol = Protocol.TCP
        if protocol is Protocol.UDP:
            notes.append(diagnostic("XDS4001", entry.ref, path, port=port.number))
        else:
            redirected = entry.spec.resolution == "NONE" and port.target_port != port.number
            found.append(ServicePort(port.number, port.name, protocol, port.target_port or 0 if redirected else 0))
    return tuple(found)


def _addresses(entry: ServiceEntry, notes: list[Diagnostic]) -> tuple[str, ...]:
    found = []
    for index, address in enumerate(entry.spec.addresses):
        if _is_network(address):
            found.append(address)
        else:
            path = ("spec", "addresses", index)
            wanted = "an IP address or a range such as 10.0.0.0/8"
            notes.append(diagnostic("XDS2037", entry.ref, path, address=address, wanted=wanted))
    return tuple(sorted(set(found)))


def _is_network(address: str) -> bool:
    try:
        ip_network(address, strict=False)
    except ValueError:
        return False
    return True


def _given(entry: ServiceEntry, host: str) -> tuple[str, ...]:
    """Addresses that a control plane gave to the host before."""
    listed = entry.status.addresses if entry.status else ()
    return tuple(sorted({each.value for each in listed if each.host.lower() in ("", host) and is_ip(each.value)}))


def wants_address(entry: ServiceEntry, service: Service) -> bool:
    """Whether a host of a ServiceEntry needs an address by which connections to it can be told apart."""
    return (
        not service.addresses
        and bool(service.ports)
        and "*" not in service.host
        and service.discovery is not Discovery.ORIGINAL_DESTINATION
        and entry.metadata.labels.get(OPT_OUT, "").lower() != "false"
    )


Key = tuple[str, str, str]
"""namespace, name and host"""


def automatic_addresses(keys: Iterable[Key], taken: frozenset[str]) -> Mapping[Key, str]:
    """An address for each key, the same in every process: its place is a hash of the key, or the next that is free.
    taken: addresses in use. A key for which nothing is left is missing."""
    first, count = int(AUTOMATIC.network_address) + 1, AUTOMATIC.num_addresses - 2
    used = {address for address in taken if address.startswith("240.240.")}
    found: dict[Key, str] = {}
    for key in sorted(keys):
        start = int.from_bytes(blake2b("/".join(key).encode(), digest_size=8).digest(), "big")
        for step in range(count - len(used) and count):
            address = str(IPv4Address(first + (start + step) % count))
            if address not in used:
                used.add(address)
                found[key] = address
                break
    return found


def no_address_left(refs: Iterable[ObjectRef]) -> tuple[Diagnostic, ...]:
    return tuple(diagnostic("XDS8001", ref, ("spec", "hosts"), network=AUTOMATIC) for ref in refs)
