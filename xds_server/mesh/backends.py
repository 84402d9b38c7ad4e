"""Backends: one for each port of a service, and one more for each subset of it; never one for each route."""

from __future__ import annotations

import msgspec

from xds_server.diagnostics import Diagnostic
from xds_server.kube.istio.mesh_config import DEFAULTS, MeshConfig
from xds_server.mesh import names
from xds_server.mesh.affinity import with_affinity
from xds_server.mesh.client_tls import NO_SECRETS, ClientSecrets, client_tls
from xds_server.mesh.destination_rules import Rules
from xds_server.mesh.endpoints import ServiceEndpoints, labels_of, settled
from xds_server.mesh.model import (
    Algorithm,
    Backend,
    BackendEndpoints,
    BackendPolicy,
    Discovery,
    Endpoint,
    HashKey,
    Labels,
    Service,
    ServicePort,
)
from xds_server.mesh.placement import DEFAULT_OUTLIER, Placement, fails_over, placed, placement
from xds_server.mesh.policy import (
    NOTHING_SAID,
    Effective,
    TcpOptions,
    backend_policy,
    effective,
    policy_notes,
    tcp_options,
    with_mesh_defaults,
)
from xds_server.mesh.proxy import Interception, Proxy, ProxyKind

_DNS = (Discovery.DNS, Discovery.DNS_ROUND_ROBIN)


class BackendRef(msgspec.Struct, frozen=True):
    """What a backend is made from. subset: one of `rules.subsets`, or empty for all endpoints.
    as_is: for TLS that a gateway passes on unopened: the backend has the name that clients write in the SNI, and adds
    no TLS of its own. chosen: for redirected connections to one endpoint of a headless service: it is kept."""

    service: Service
    port: ServicePort
    subset: str
    rules: Rules | None
    as_is: bool = False
    chosen: bool = False

    @property
    def name(self) -> str:
        if self.chosen:
            return names.chosen(self.port.number, self.service.host)
        name = names.sni_dnat if self.as_is else names.outbound
        return name(self.port.number, self.subset, self.service.host)


class Site(msgspec.Struct, frozen=True):
    """What a backend depends on of the proxy that uses it. credentials: it can be given Secrets.
    redirected: its connections have an original destination. config: what holds where no policy says it."""

    placement: Placement | None
    credentials: bool
    redirected: bool
    config: MeshConfig = DEFAULTS


class Made(msgspec.Struct, frozen=True, eq=False):
    """secrets: what the backend's TLS names."""

    backend: Backend
    secrets: ClientSecrets
    diagnostics: tuple[Diagnostic, ...]


def site(ref: BackendRef, proxy: Proxy, config: MeshConfig = DEFAULTS) -> Site:
    """Equal for proxies that share the backend."""
    balancer = settings(ref.service, ref.rules, ref.subset, ref.port.number).load_balancer
    asked = (balancer.value.locality_lb_setting if balancer else None) or config.locality_lb_setting
    selected = ref.rules is not None and bool(ref.rules.selector)
    return Site(
        placement=placement(asked, proxy.locality, proxy.labels or ()),
        credentials=proxy.kind is ProxyKind.GATEWAY or selected,
        redirected=proxy.kind is ProxyKind.SIDECAR and proxy.interception is not Interception.NONE,
        config=config,
    )


def settings(service: Service, rules: Rules | None, subset: str, port: int) -> Effective:
    return with_affinity(effective(rules.layers(subset), port) if rules else NOTHING_SAID, service)


def backend(ref: BackendRef, dns: ServiceEndpoints, seen: Site) -> Made:
    """dns: the names to resolve, when the service's endpoints are found by DNS; otherwise empty, so that a change
    of endpoints leaves the backend alone."""
    service, port, subset, rules = ref.service, ref.port, ref.subset, ref.rules
    chosen = settings(service, rules, subset, port.number)
    policy = with_mesh_defaults(backend_policy(chosen), chosen, seen.config)
    http2 = (
        port.protocol.is_http2 or bool(policy.connections.upgrade_to_http2) or policy.connections.use_client_protocol
    )
    notes = policy_notes(chosen, http2)
    secrets = NO_SECRETS
    if not ref.as_is:
        tls, secrets = client_tls(chosen.tls, service, seen.credentials, notes)
        policy = msgspec.structs.replace(policy, tls=tls)
    policy = _placed_policy(policy, chosen, seen.placement, notes)
    discovery = Discovery.ORIGINAL_DESTINATION if ref.chosen else service.discovery
    if policy.load_balancing.algorithm is Algorithm.PASSTHROUGH:
        if seen.redirected:
            discovery = Discovery.ORIGINAL_DESTINATION
        elif chosen.load_balancer:
            # Here the original destination is the proxy itself, which would call itself without end.
            reason = "in a proxy to which nothing is redirected; LEAST_REQUEST is used"
            notes.append(chosen.load_balancer.note("XDS4009", "simple", field="PASSTHROUGH", reason=reason))
            balancing = msgspec.structs.replace(policy.load_balancing, algorithm=Algorithm.LEAST_REQUEST)
            policy = msgspec.structs.replace(policy, load_balancing=balancing)
    policy_origin = rules.policy_origin if rules else None
    subset_origin = rules.subsets[subset][1] if rules and subset else None
    found = _with_labels(dns, port.number, subset_labels(rules, subset)) if discovery in _DNS else ()
    # Whoever resolves one name has one endpoint, wherever it is.
    where = placed(found, seen.placement if discovery is Discovery.DNS else None)
    result = Backend(
        name=ref.name,
        host=service.host,
        port=port,
        policy=policy,
        discovery=discovery,
        origins=tuple(origin for origin in (service.origin, subset_origin, policy_origin) if origin is not None),
        subset=subset,
        external=service.external,
        fixed=where.endpoints,
        locality_weights=where.weights,
    )
    return Made(result, secrets, tuple(notes))


def _placed_policy(
    policy: BackendPolicy, chosen: Effective, seen: Placement | None, notes: list[Diagnostic]
) -> BackendPolicy:
    if seen is not None and seen.shares:
        balancing = msgspec.structs.replace(policy.load_balancing, weighted_localities=True)
        policy = msgspec.structs.replace(policy, load_balancing=balancing)
    balancer = chosen.load_balancer
    if balancer and policy.outlier is None and fails_over(balancer.value.locality_lb_setting):
        notes.append(balancer.note("XDS4024", "localityLbSetting"))
        policy = msgspec.structs.replace(policy, outlier=DEFAULT_OUTLIER)
    return policy


def subset_labels(rules: Rules | None, subset: str) -> Labels:
    return labels_of(rules.subsets[subset][0].labels) if rules and subset else ()


def backend_endpoints(ref: BackendRef, endpoints: ServiceEndpoints, seen: Placement | None) -> BackendEndpoints:
    """Those endpoints that have the labels of the subset, as the proxy should use them."""
    found = placed(_with_labels(endpoints, ref.port.number, subset_labels(ref.rules, ref.subset)), seen)
    return BackendEndpoints(
        name=ref.name,
        endpoints=settled(found.endpoints),
        origins=(ref.service.origin, *endpoints.origins),
        locality_weights=found.weights,
    )


def _with_labels(endpoints: ServiceEndpoints, port: int, labels: Labels) -> tuple[Endpoint, ...]:
    wanted = set(labels)
    return tuple(endpoint for endpoint in endpoints.by_port.get(port, ()) if wanted <= set(endpoint.labels))


def backend_hash_key(service: Service, rules: Rules | None, subset: str, port: int) -> HashKey | None:
    """What requests to this backend are hashed by: the hash policy is part of the route, not of the cluster."""
    return backend_policy(settings(service, rules, subset, port)).load_balancing.hash_key


def backend_tcp_options(service: Service, rules: Rules | None, subset: str, port: int) -> TcpOptions:
    """How connections to this backend are passed on, which is part of the listener."""
    return tcp_options(settings(service, rules, subset, port))
