"""Services of the mesh, from Kubernetes Services; those of ServiceEntries are in `service_entries`."""

from __future__ import annotations

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.meta import Object
from xds_server.mesh import names
from xds_server.mesh.endpoints import is_ip
from xds_server.mesh.load_balancers import cloud_notes
from xds_server.mesh.local_addresses import reason_to_refuse
from xds_server.mesh.model import Discovery, Nearness, Protocol, Service, ServicePort
from xds_server.mesh.origin import Origin
from xds_server.mesh.protocols import port_protocol
from xds_server.mesh.visibility import exported_to

EXPORT_TO = "networking.istio.io/exportTo"
TRAFFIC_DISTRIBUTION = "networking.istio.io/traffic-distribution"
_DEFAULT_TIMEOUT = 10800  # seconds; the API server fills it in

Found = tuple[tuple[Service, ...], tuple[Diagnostic, ...]]


def kubernetes_service(service: core.Service, resolved: bool, default_export: tuple[str, ...] = ()) -> Found:
    """The service of a Kubernetes Service. resolved: its endpoints are DNS names, which the proxy resolves.
    default_export: who sees it when it does not say."""
    spec, meta, ref = service.spec, service.metadata, service.ref
    notes: list[Diagnostic] = []
    prefers = nearness(spec.traffic_distribution, service, ("spec", "trafficDistribution"), notes)
    if spec.traffic_distribution is None:
        prefers = annotated_nearness(service, notes)
    config = spec.session_affinity_config
    timeout = config.client_ip.timeout_seconds if config and config.client_ip else None
    if timeout not in (None, _DEFAULT_TIMEOUT):
        path = ("spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds")
        notes.append(diagnostic("XDS4030", ref, path))
    result = Service(
        host=names.service_host(meta.name, meta.namespace),
        name=meta.name,
        namespace=meta.namespace,
        ports=_ports(service, notes),
        origin=Origin(ref),
        addresses=_cluster_addresses(service, notes),
        discovery=Discovery.DNS if resolved else Discovery.ENDPOINTS,
        headless="None" in cluster_ips(service),
        external=spec.type == "ExternalName",
        exported_to=exports(service, default_export),
        created=meta.creation_timestamp or "",
        sticky=spec.session_affinity == "ClientIP",
        node_local=spec.internal_traffic_policy == "Local",
        prefers=prefers,
    )
    return (result,), (*notes, *cloud_notes(service))


def _ports(service: core.Service, notes: list[Diagnostic]) -> tuple[ServicePort, ...]:
    found = []
    for index, port in enumerate(service.spec.ports):
        protocol = port_protocol(port.port, port.name, port.protocol, port.app_protocol or "")
        if protocol is Protocol.UDP:
            notes.append(diagnostic("XDS4001", service.ref, ("spec", "ports", index), port=port.port))
        else:
            found.append(ServicePort(port.port, port.name, protocol))
    if not service.spec.ports:
        notes.append(diagnostic("XDS4002", service.ref, ("spec",)))
    return tuple(found)


def cluster_ips(service: core.Service) -> tuple[str, ...]:
    spec = service.spec
    return spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())


def _cluster_addresses(service: core.Service, notes: list[Diagnostic]) -> tuple[str, ...]:
    given = sorted({ip for ip in cluster_ips(service) if ip != "None"})
    wrong = [ip for ip in given if not is_ip(ip)]
    path = ("spec", "clusterIPs" if service.spec.cluster_ips else "clusterIP")
    notes += [diagnostic("XDS2037", service.ref, path, address=ip, wanted="an IP address") for ip in wrong]
    return tuple(ip for ip in given if ip not in wrong)


def exports(service: core.Service, default: tuple[str, ...] = ()) -> frozenset[str]:
    """The namespaces that see the service. default: the mesh's own setting."""
    text = service.metadata.annotations.get(EXPORT_TO, "")
    return exported_to([part.strip() for part in text.split(",") if part.strip()], service.metadata.namespace, default)


def external_addresses(service: core.Service) -> tuple[tuple[str, ...], tuple[Diagnostic, ...]]:
    """The addresses by which the service is known outside, and is met directly inside of the mesh.

    A load balancer that wants the traffic itself (`ipMode: Proxy`) is left alone. Anybody can write an externalIP, so
    those of the node itself, and of its cloud's metadata service, are refused (CVE-2020-8554).
    """
    notes, found = [], []
    for index, ip in enumerate(service.spec.external_ips):
        problem = reason_to_refuse(ip) or ("" if is_ip(ip) else "it is no IP address")
        if problem:
            path = ("spec", "externalIPs", index)
            notes.append(diagnostic("XDS6002", service.ref, path, address=ip, reason=problem))
        else:
            found.append(ip)
    balancer = service.status.load_balancer if service.status else None
    found += [
        ingress.ip
        for ingress in (balancer.ingress if balancer else ())
        if is_ip(ingress.ip) and ingress.ip_mode != "Proxy" and not reason_to_refuse(ingress.ip)
    ]
    return tuple(sorted(set(found))), tuple(notes)


_PREFERS = {
    "PreferClose": Nearness.ZONE,  # the older name
    "PreferSameZone": Nearness.ZONE,
    "PreferSameNode": Nearness.NODE,
}


def nearness(
    text: str | None, of: Object, path: tuple[str, ...], notes: list[Diagnostic], *more: str
) -> Nearness | None:
    """Which endpoints are preferred; None for no preference. more: values that say so."""
    if text and text not in _PREFERS and text not in more:
        known = ", ".join((*_PREFERS, *more))
        notes.append(diagnostic("XDS4033", of.ref, path, value=text, known=known))
    return _PREFERS.get(text or "")


def annotated_nearness(of: Object, notes: list[Diagnostic]) -> Nearness | None:
    text = of.metadata.annotations.get(TRAFFIC_DISTRIBUTION)
    return nearness(text, of, ("metadata", "annotations", TRAFFIC_DISTRIBUTION), notes, "Any")
