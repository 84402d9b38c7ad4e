"""Backends: one for each port of a service, and one more for each subset of it; never one for each route."""

from __future__ import annotations

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube.istio import destination_rule as dr
from xds_server.mesh import names
from xds_server.mesh.destination_rules import Rules
from xds_server.mesh.endpoints import ServiceEndpoints, labels_of
from xds_server.mesh.model import (
    Algorithm,
    Backend,
    BackendEndpoints,
    ClientTLS,
    Discovery,
    Endpoint,
    HashKey,
    Labels,
    Service,
    ServicePort,
)
from xds_server.mesh.policy import backend_policy, effective

_DNS = (Discovery.DNS, Discovery.DNS_ROUND_ROBIN)


class BackendRef(msgspec.Struct, frozen=True):
    """What a backend is made from. subset: one of `rules.subsets`, or empty for all endpoints."""

    service: Service
    port: ServicePort
    subset: str
    rules: Rules | None


def backend(ref: BackendRef, dns: ServiceEndpoints) -> tuple[Backend, tuple[Diagnostic, ...]]:
    """dns: the names to resolve, when the service's endpoints are found by DNS; otherwise empty, so that a change
    of endpoints leaves the backend alone."""
    service, port, subset, rules = ref.service, ref.port, ref.subset, ref.rules
    notes: list[Diagnostic] = []
    chosen, subset_origin = rules.subsets[subset] if rules and subset else (None, None)
    top = rules.traffic_policy if rules else None
    own = chosen.traffic_policy if chosen else None
    policy = backend_policy(top, own, port.number)
    tls = _client_tls(effective(top, own, port.number).get("tls"), service, rules, notes)
    if tls is not None:
        policy = msgspec.structs.replace(policy, tls=tls)
    discovery = service.discovery
    if policy.load_balancing.algorithm is Algorithm.PASSTHROUGH:
        discovery = Discovery.ORIGINAL_DESTINATION
    policy_origin = rules.policy_origin if rules else None
    labels = subset_labels(rules, subset)
    result = Backend(
        name=names.outbound(port.number, subset, service.host),
        host=service.host,
        port=port,
        policy=policy,
        discovery=discovery,
        origins=tuple(origin for origin in (service.origin, subset_origin, policy_origin) if origin is not None),
        subset=subset,
        external=service.external,
        fixed=_with_labels(dns, port.number, labels) if discovery in _DNS else (),
    )
    return result, tuple(notes)


def subset_labels(rules: Rules | None, subset: str) -> Labels:
    return labels_of(rules.subsets[subset][0].labels) if rules and subset else ()


def backend_endpoints(ref: BackendRef, endpoints: ServiceEndpoints) -> BackendEndpoints:
    """Those endpoints that have the labels of the subset."""
    return BackendEndpoints(
        name=names.outbound(ref.port.number, ref.subset, ref.service.host),
        endpoints=_with_labels(endpoints, ref.port.number, subset_labels(ref.rules, ref.subset)),
        origins=(ref.service.origin, *endpoints.origins),
    )


def _with_labels(endpoints: ServiceEndpoints, port: int, labels: Labels) -> tuple[Endpoint, ...]:
    wanted = set(labels)
    return tuple(endpoint for endpoint in endpoints.by_port.get(port, ()) if wanted <= set(endpoint.labels))


def backend_hash_key(rules: Rules | None, subset: str, port: int) -> HashKey | None:
    """What requests to this backend are hashed by: the hash policy is part of the route, not of the cluster."""
    if rules is None:
        return None
    own = rules.subsets[subset][0].traffic_policy if subset in rules.subsets else None
    return backend_policy(rules.traffic_policy, own, port).load_balancing.hash_key


def _client_tls(
    settings: dr.TrafficPolicy | dr.PortTrafficPolicy | None,
    service: Service,
    rules: Rules | None,
    notes: list[Diagnostic],
) -> ClientTLS | None:
    tls = settings.tls if settings is not None else None
    if tls is None or rules is None or tls.mode == "DISABLE":
        return None
    if tls.mode == "ISTIO_MUTUAL":
        notes.append(
            diagnostic("XDS5004", rules.origins[0].ref, ("spec", "trafficPolicy", "tls", "mode"), mode=tls.mode)
        )
        return None
    return ClientTLS(
        sni=tls.sni,
        subject_alt_names=tuple(tls.subject_alt_names or service.subject_alt_names),
        verify=not tls.insecure_skip_verify,
    )
