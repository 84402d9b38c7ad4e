"""What the endpoints of a service are made of, wherever they were found.

They come from EndpointSlices, else from the legacy Endpoints of the same name (`slice_endpoints`), else from the
Pods and WorkloadEntries that the service selects (`workload_endpoints`), or from a ServiceEntry (`entry_endpoints`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from xds_server.diagnostics import Diagnostic
from xds_server.kube import core
from xds_server.kube.pod import Pod
from xds_server.mesh.model import Endpoint, Health, Labels, Locality, Value
from xds_server.mesh.origin import Origin

REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"
SUBZONE = "topology.istio.io/subzone"
_OLD_REGION = "failure-domain.beta.kubernetes.io/region"
_OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"
_LOCALITY = "istio-locality"

# Ten times as fast as `ipaddress`, for what most of a hundred thousand endpoints are.
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")

ByPort = Mapping[int, tuple[Endpoint, ...]]


class ServiceEndpoints(Value, frozen=True, eq=False, gc=False):
    """by_port: port number of the service -> endpoints, sorted. origins: the objects that list them.
    hostnames: an endpoint's own name below a headless service -> its addresses, also while it is not ready.
    for_zones, for_nodes: whether there are topology hints."""

    by_port: ByPort = {}
    origins: tuple[Origin, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    hostnames: Mapping[str, tuple[str, ...]] = {}
    for_zones: bool = False
    for_nodes: bool = False


NO_ENDPOINTS = ServiceEndpoints()


class Candidate(NamedTuple):
    """An endpoint as one object lists it. identity: what tells that two are the same although their addresses
    differ, empty when only the address tells."""

    identity: str
    endpoint: Endpoint


def labels_of(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def node_locality(node: core.Node | None) -> Locality:
    labels = node.metadata.labels if node else {}
    region = labels.get(REGION, "") or labels.get(_OLD_REGION, "")
    return Locality(region, labels.get(ZONE, "") or labels.get(_OLD_ZONE, ""), labels.get(SUBZONE, ""))


def workload_locality(labels: Mapping[str, str], of_node: Locality) -> Locality:
    """A workload's own label wins over its node's; as a label cannot hold slashes, dots part it as well."""
    text = labels.get(_LOCALITY, "")
    return parse_locality(text if "/" in text else text.replace(".", "/")) if text else of_node


def parse_locality(text: str) -> Locality:
    """`region/zone/subzone`, the later parts optional."""
    region, _, rest = text.partition("/")
    zone, _, subzone = rest.partition("/")
    return Locality(region, zone, subzone)


def target_port(port: core.ServicePort, pod: Pod | None) -> int | None:
    """The number of a container's port; None when the Pod (which may be unknown) has no port of that name."""
    target = port.target_port
    if target is None or target == "" or target == 0:
        return port.port
    if isinstance(target, int):
        return target
    if target.isdecimal():
        return int(target)
    if pod is None:
        return None
    running = (*pod.spec.containers, *(c for c in pod.spec.init_containers if c.restart_policy == "Always"))
    for container in running:
        for declared in container.ports:
            if declared.name == target and declared.protocol == port.protocol:
                return declared.container_port
    return None


def family(address: str) -> str:
    """`IPv4` or `IPv6`, as Kubernetes calls them; empty for a name or a path."""
    if _IPV4.fullmatch(address):
        return "IPv4"
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return ""
    return "IPv6"


def is_ip(address: str) -> bool:
    return bool(family(address))


def families(service: core.Service) -> tuple[str, ...]:
    """The address families of a service, the first first; empty when it does not say."""
    spec = service.spec
    cluster_ips = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    return spec.ip_families or tuple(dict.fromkeys(name for ip in cluster_ips if (name := family(ip))))


def assembled(
    by_port: Mapping[int, Iterable[Candidate]],
    origins: Iterable[Origin],
    notes: Iterable[Diagnostic] = (),
    hostnames: Mapping[str, tuple[str, ...]] | None = None,
    order: Sequence[str] = (),
) -> ServiceEndpoints:
    """Each endpoint once, however often it is listed. order: the address families, the first first."""
    merged = {port: _merged(found, order) for port, found in by_port.items()}
    places = {endpoint.whereabouts for found in merged.values() for endpoint in found}
    return ServiceEndpoints(
        merged,
        tuple(dict.fromkeys(origins)),
        tuple(dict.fromkeys(notes)),
        hostnames or {},
        any(place.for_zones for place in places),
        any(place.for_nodes for place in places),
    )


_HEAVIEST = 2**31
_BEST_FIRST = {Health.HEALTHY: 0, Health.DRAINING: 1, Health.UNHEALTHY: 2}


def _merged(candidates: Iterable[Candidate], order: Sequence[str]) -> tuple[Endpoint, ...]:
    """While slices are rewritten an endpoint can stand in two of them: the one that says it is well counts."""
    same: dict[tuple[str, int], dict[str, Endpoint]] = {}
    for identity, endpoint in sorted(candidates, key=_by_health):
        same.setdefault((identity or endpoint.address, endpoint.port), {}).setdefault(endpoint.address, endpoint)
    result: list[Endpoint] = []
    for by_address in same.values():
        if len(by_address) == 1:
            result += by_address.values()
            continue
        found = sorted(by_address.values(), key=lambda endpoint: _rank(endpoint, order))
        if len({family(endpoint.address) for endpoint in found}) == len(found):
            others = tuple(endpoint.address for endpoint in found[1:])
            result.append(msgspec.structs.replace(found[0], more_addresses=others) if others else found[0])
        else:
            result += found
    return tuple(sorted(_within_bounds(result)))


def _within_bounds(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Envoy adds the weights up in 32 bits: those that are too heavy together keep their proportions."""
    total = sum(endpoint.weight for endpoint in endpoints)
    if total <= _HEAVIEST:
        return endpoints
    scale = _HEAVIEST / total
    return [msgspec.structs.replace(each, weight=int(each.weight * scale) or 1) for each in endpoints]


def _by_health(candidate: Candidate) -> int:
    return _BEST_FIRST[candidate.endpoint.health]


def _rank(endpoint: Endpoint, order: Sequence[str]) -> tuple[int, bool, str]:
    name = family(endpoint.address)
    return order.index(name) if name in order else len(order), name != "IPv4", endpoint.address


def settled(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """The endpoints that a proxy is told of. New requests go to those that are draining only when there are no others
    (KEP-1669).

    Envoy would use them before: when less than half of the endpoints of one priority are healthy it uses all, for it
    fears to overload the rest. So where they are the majority they are left out; what they have begun, they end.
    """
    by_priority: dict[int, list[int]] = {}
    for endpoint in endpoints:
        counts = by_priority.setdefault(endpoint.priority, [0, 0])
        counts[endpoint.health is Health.DRAINING] += 1
    if not any(draining for _, draining in by_priority.values()):
        return endpoints
    if not any(others for others, _ in by_priority.values()):
        return tuple(msgspec.structs.replace(endpoint, health=Health.HEALTHY) for endpoint in endpoints)
    crowded = {priority for priority, (others, draining) in by_priority.items() if 0 < others < draining}
    return tuple(e for e in endpoints if e.priority not in crowded or e.health is not Health.DRAINING)
