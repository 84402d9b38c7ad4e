"""Services of the mesh, from Kubernetes Services and from ServiceEntries."""

from __future__ import annotations

import ipaddress

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.mesh import names
from xds_server.mesh.model import Discovery, Protocol, Service, ServicePort
from xds_server.mesh.origin import Origin
from xds_server.mesh.protocols import declared_protocol, port_protocol
from xds_server.mesh.visibility import exported_to

EXPORT_TO = "networking.istio.io/exportTo"

Found = tuple[tuple[Service, ...], tuple[Diagnostic, ...]]


def kubernetes_service(service: core.Service) -> Found:
    """The service of a Kubernetes Service; none when it names nothing that a proxy may connect to."""
    notes: list[Diagnostic] = []
    spec, meta, ref = service.spec, service.metadata, service.ref
    if spec.type == "ExternalName":
        problem = _refused_external_name(spec.external_name)
        if problem:
            notes.append(diagnostic("XDS6001", ref, ("spec", "externalName"), name=spec.external_name, reason=problem))
            return (), tuple(notes)
    ports = []
    for index, port in enumerate(spec.ports):
        protocol = port_protocol(port.port, port.name, port.protocol, port.app_protocol or "")
        if protocol is Protocol.UDP:
            notes.append(diagnostic("XDS4001", ref, ("spec", "ports", index), port=port.port))
        else:
            ports.append(ServicePort(port.port, port.name, protocol))
    if not ports and not spec.ports:
        notes.append(diagnostic("XDS4002", ref, ("spec",)))
    cluster_ips = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    exports = [text.strip() for text in meta.annotations.get(EXPORT_TO, "").split(",") if text.strip()]
    result = Service(
        host=names.service_host(meta.name, meta.namespace),
        name=meta.name,
        namespace=meta.namespace,
        ports=tuple(ports),
        origin=Origin(ref),
        addresses=tuple(sorted({ip for ip in cluster_ips if ip != "None"})),
        discovery=Discovery.DNS if spec.type == "ExternalName" else Discovery.ENDPOINTS,
        headless="None" in cluster_ips,
        external=spec.type == "ExternalName",
        exported_to=exported_to(exports, meta.namespace),
        created=meta.creation_timestamp or "",
    )
    return (result,), tuple(notes)


def _refused_external_name(name: str) -> str | None:
    """Names that would let a tenant reach the proxy's own admin port or the node (CVE-2021-32783)."""
    if name.lower().rstrip(".") in ("localhost", "localhost.localdomain") or name.lower().endswith(".localhost"):
        return "it names the proxy itself"
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    if address.is_loopback or address.is_link_local or address.is_unspecified:
        return "loopback and link-local addresses are those of the proxy itself"
    return None


_DISCOVERY = {
    "NONE": Discovery.ORIGINAL_DESTINATION,
    "STATIC": Discovery.ENDPOINTS,
    "DNS": Discovery.DNS,
    "DNS_ROUND_ROBIN": Discovery.DNS_ROUND_ROBIN,
    "DYNAMIC_DNS": Discovery.DNS,
}


def entry_services(entry: ServiceEntry) -> Found:
    """One service for each host of a ServiceEntry."""
    spec, meta, ref = entry.spec, entry.metadata, entry.ref
    notes: list[Diagnostic] = []
    ports = []
    for index, port in enumerate(spec.ports):
        protocol = declared_protocol(port.protocol) if port.protocol else port_protocol(port.number, port.name, "", "")
        if protocol is None:
            path = ("spec", "ports", index, "protocol")
            notes.append(diagnostic("XDS4003", ref, path, protocol=port.protocol))
            protocol = Protocol.TCP
        if protocol is Protocol.UDP:
            notes.append(diagnostic("XDS4001", ref, ("spec", "ports", index), port=port.number))
        else:
            ports.append(ServicePort(port.number, port.name, protocol))
    return tuple(
        Service(
            host=host.lower(),
            name=meta.name,
            namespace=meta.namespace,
            ports=tuple(ports),
            origin=Origin(ref),
            addresses=tuple(sorted(set(spec.addresses))),
            discovery=_DISCOVERY[spec.resolution],
            external=spec.location == "MESH_EXTERNAL",
            exported_to=exported_to(spec.export_to, meta.namespace),
            subject_alt_names=spec.subject_alt_names,
            created=meta.creation_timestamp or "",
        )
        for host in spec.hosts
    ), tuple(notes)
