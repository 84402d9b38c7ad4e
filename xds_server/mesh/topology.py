"""Which endpoints of a service a proxy uses, by the node and zone that it runs in.

`internalTrafficPolicy: Local` allows those of its own node alone. Topology hints of EndpointSlices choose as kube-proxy
does (KEP-2433). `trafficDistribution` only prefers: when the endpoints nearby fail, those further away take over.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.memo import Memo
from xds_server.mesh.backends import BackendRef, settings
from xds_server.mesh.endpoints import ServiceEndpoints
from xds_server.mesh.local_addresses import reason_to_refuse
from xds_server.mesh.model import Backend, Discovery, Endpoint, Locality, Nearness, Service
from xds_server.mesh.placement import prioritised_labels
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.registry import Registry
from xds_server.mesh.resolve import Mesh

Choice = Callable[[tuple[Endpoint, ...], str, Locality], tuple[Endpoint, ...]]


def placed_proxy(registry: Registry, proxy: Proxy) -> Proxy:
    """The proxy with the locality of its node when it names none itself, and without the node when nothing depends on
    that: so the proxies of many nodes share what is made for one."""
    locality = proxy.locality
    if proxy.node and locality == Locality():
        locality = registry.node_locality(proxy.node)
    node = proxy.node if registry.node_matters else ""
    return msgspec.structs.replace(proxy, node=node, locality=locality)


def seat_of(mesh: Mesh, proxy: Proxy) -> Proxy:
    """All of a client of services that its ways to them depend on: those that are alike in it share them."""
    by_config = prioritised_labels(mesh.config.locality_lb_setting)
    asked = {*mesh.rules.asked, *mesh.routes.asked, *by_config}
    return Proxy(
        proxy.kind,
        proxy.namespace,
        proxy.labels and tuple(pair for pair in proxy.labels if pair[0] in asked),
        proxy.locality,
        interception=proxy.interception,
        http_proxy_port=proxy.http_proxy_port,
        unprivileged=proxy.unprivileged,
        dns_capture=proxy.dns_capture,
        node=proxy.node,
    )


def anywhere(seat: Proxy) -> Proxy:
    """What the routes to services depend on: it makes a difference to their endpoints alone where a client runs."""
    return msgspec.structs.replace(seat, locality=Locality(), node="")


def near(registry: Registry, ref: BackendRef, proxy: Proxy, memo: Memo, notes: list[Diagnostic]) -> ServiceEndpoints:
    """The endpoints of a service that the proxy uses."""
    service, found = ref.service, registry.endpoints_of(ref.service)
    if service.node_local and not proxy.node:
        path = ("spec", "internalTrafficPolicy")
        notes.append(diagnostic("XDS4031", service.origin.ref, path, field="internalTrafficPolicy: Local"))
        return found
    choice = _choice(service, found, ref)
    return memo(_chosen, found, choice, proxy.node, proxy.locality) if choice else found


def _choice(service: Service, found: ServiceEndpoints, ref: BackendRef) -> Choice | None:
    if service.node_local:
        return _on_node
    if found.for_zones or found.for_nodes:
        return _hinted
    if service.prefers is None or _rule_prefers(ref):
        return None
    return _CHOICES[service.prefers]


def _rule_prefers(ref: BackendRef) -> bool:
    """A DestinationRule that says where to send traffic wins over the Service."""
    balancer = settings(ref.service, ref.rules, ref.subset, ref.port.number).load_balancer
    return balancer is not None and balancer.value.locality_lb_setting is not None


def _chosen(found: ServiceEndpoints, choice: Choice, node: str, locality: Locality) -> ServiceEndpoints:
    by_port = {port: choice(endpoints, node, locality) for port, endpoints in found.by_port.items()}
    return msgspec.structs.replace(found, by_port=by_port)


def _on_node(endpoints: tuple[Endpoint, ...], node: str, _: Locality) -> tuple[Endpoint, ...]:
    return tuple(endpoint for endpoint in endpoints if endpoint.whereabouts.node == node)


def _hinted(endpoints: tuple[Endpoint, ...], node: str, locality: Locality) -> tuple[Endpoint, ...]:
    """Hints count only when every endpoint has one and one of them is for us (kube-proxy, CategorizeEndpoints)."""
    hints = [endpoint.whereabouts for endpoint in endpoints]
    if node and all(hint.for_nodes for hint in hints):
        ours = tuple(endpoint for endpoint in endpoints if node in endpoint.whereabouts.for_nodes)
        if ours:
            return ours
    if locality.zone and all(hint.for_zones for hint in hints):
        ours = tuple(endpoint for endpoint in endpoints if locality.zone in endpoint.whereabouts.for_zones)
        if ours:
            return ours
    return endpoints


def _same_zone_first(endpoints: tuple[Endpoint, ...], _: str, locality: Locality) -> tuple[Endpoint, ...]:
    if not locality.zone:
        return endpoints
    return _prioritised(endpoints, lambda endpoint: _distance(endpoint.locality, locality))


def _same_node_first(endpoints: tuple[Endpoint, ...], node: str, locality: Locality) -> tuple[Endpoint, ...]:
    return _prioritised(
        endpoints,
        lambda endpoint: (
            0 if node and endpoint.whereabouts.node == node else 1 + _distance(endpoint.locality, locality)
        ),
    )


_CHOICES = {Nearness.ZONE: _same_zone_first, Nearness.NODE: _same_node_first}


def _distance(there: Locality, here: Locality) -> int:
    """0 in the same zone, 1 in the same region, 2 elsewhere."""
    if there.region != here.region:
        return 2
    return 0 if there.zone == here.zone else 1


def _prioritised(endpoints: tuple[Endpoint, ...], distance: Callable[[Endpoint], int]) -> tuple[Endpoint, ...]:
    """Priorities from 0 without gaps, as Envoy wants them."""
    numbers = {rank: number for number, rank in enumerate(sorted({distance(endpoint) for endpoint in endpoints}))}
    return tuple(msgspec.structs.replace(each, priority=numbers[distance(each)]) for each in endpoints)


def without_original_destination(backend: Backend, ref: BackendRef) -> tuple[Backend, tuple[Diagnostic, ...]]:
    """A backend for a proxy that intercepts nothing: connections there wanted to reach the proxy, which would call
    itself without end. The host is resolved instead; one that stands for many names has no endpoints."""
    service, target = ref.service, ref.port.target or ref.port.number
    resolvable = "*" not in service.host and not reason_to_refuse(service.host)
    code = "XDS4034" if resolvable else "XDS4035"
    note = diagnostic(code, service.origin.ref, ("spec", "resolution"), host=service.host)
    if resolvable:
        made = msgspec.structs.replace(backend, discovery=Discovery.DNS, fixed=(Endpoint(service.host, target),))
    else:
        made = msgspec.structs.replace(backend, discovery=Discovery.FIXED)
    return made, (note,)


def not_one_name(backend: Backend, ref: BackendRef) -> tuple[Backend, tuple[Diagnostic, ...]]:
    """A backend of DNS_ROUND_ROBIN, which must have one name to resolve, with none or several."""
    if not backend.fixed:
        return msgspec.structs.replace(backend, discovery=Discovery.FIXED), ()
    note = diagnostic("XDS2038", ref.service.origin.ref, ("spec", "resolution"), count=len(backend.fixed))
    return msgspec.structs.replace(backend, discovery=Discovery.DNS), (note,)
