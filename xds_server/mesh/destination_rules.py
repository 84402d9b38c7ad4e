"""Which DestinationRules apply to a service, as a client of one namespace sees it.

Lookup: the client's namespace, then the service's, then the root namespace; the first with a match ends the search.
Within one, the most specific host wins. Several rules of the same namespace and host are read as one: the first
trafficPolicy and the first subset of each name count (istio pilot/pkg/model/destination_rule.go). Rules with a
workloadSelector are for the clients of their own namespace that have its labels, and come before all others.
"""

from __future__ import annotations

from collections.abc import Mapping

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube.istio.destination_rule import DestinationRule, Subset, TrafficPolicy
from xds_server.mesh import names
from xds_server.mesh.endpoints import labels_of
from xds_server.mesh.model import Labels, Service, Value
from xds_server.mesh.origin import Origin
from xds_server.mesh.policy import Layer
from xds_server.mesh.visibility import exported_to, visible

ROOT_NAMESPACE = "istio-system"


class Rules(Value, frozen=True, eq=False, gc=False):
    """What all the rules of one namespace, host and selector say together.
    subsets: name -> (its rule, its place in it). selector: labels of the clients that they are for, empty for all."""

    host: str
    namespace: str
    exported_to: frozenset[str]
    traffic_policy: TrafficPolicy | None
    policy_origin: Origin | None
    subsets: Mapping[str, tuple[Subset, Origin]]
    origins: tuple[Origin, ...]
    selector: Labels = ()

    def layers(self, subset: str) -> tuple[Layer, ...]:
        """The trafficPolicies that count for a subset, or for all endpoints: the later ones override."""
        found = []
        if self.traffic_policy is not None and self.policy_origin is not None:
            found.append(Layer(self.traffic_policy, self.policy_origin))
        if subset in self.subsets:
            chosen, origin = self.subsets[subset]
            if chosen.traffic_policy is not None:
                found.append(Layer(chosen.traffic_policy, Origin(origin.ref, (*origin.path, "trafficPolicy"))))
        return tuple(found)

    def subset_names(self) -> str:
        return ", ".join(sorted(self.subsets)) or "none"


class RuleIndex(Value, frozen=True, eq=False, gc=False):
    """All rules: namespace -> host (perhaps a wildcard) -> rules; and those with a selector: namespace -> rules."""

    by_namespace: Mapping[str, Mapping[str, Rules]] = {}
    selecting: Mapping[str, tuple[Rules, ...]] = {}
    diagnostics: tuple[Diagnostic, ...] = ()
    root: str = ROOT_NAMESPACE

    def find(self, service: Service, client_namespace: str, labels: Labels | None = ()) -> Rules | None:
        """labels: the client's; None: unknown, so that every selector holds."""
        ours = self.selecting.get(client_namespace, ())
        by_host = {r.host: r for r in reversed(ours) if labels is None or set(r.selector) <= set(labels)}
        if selected := _of(by_host, service):
            return selected
        for namespace in dict.fromkeys((client_namespace, service.namespace, self.root)):
            rules = _of(self.by_namespace.get(namespace, {}), service)
            if rules and (namespace == client_namespace or visible(rules.exported_to, client_namespace)):
                return rules
        return None


def _of(by_host: Mapping[str, Rules], service: Service) -> Rules | None:
    found = _most_specific(by_host, service.host)
    return found or (_most_specific(by_host, service.parent) if service.parent else None)


def _most_specific(by_host: Mapping[str, Rules], host: str) -> Rules | None:
    if host in by_host:
        return by_host[host]
    rest = host
    while rest:
        _, _, rest = rest.partition(".")
        wildcard = by_host.get(f"*.{rest}" if rest else "*")
        if wildcard:
            return wildcard
    return None


def rule_index(
    objects: Mapping[tuple[str, str], DestinationRule],
    root: str = ROOT_NAMESPACE,
    default_export: tuple[str, ...] = (),
) -> RuleIndex:
    """root: the namespace whose rules are for all. default_export: where those that say nothing are seen."""
    groups: dict[tuple[str, str, Labels], list[DestinationRule]] = {}
    for rule in sorted(objects.values(), key=_age):
        namespace, selector = rule.metadata.namespace, rule.spec.workload_selector
        wanted = labels_of(selector.match_labels) if selector else ()
        groups.setdefault((namespace, names.full_host(rule.spec.host, namespace), wanted), []).append(rule)
    by_namespace: dict[str, dict[str, Rules]] = {}
    selecting: dict[str, list[Rules]] = {}
    notes: list[Diagnostic] = []
    for (namespace, host, wanted), group in groups.items():
        rules = _merged(host, namespace, wanted, group, default_export, notes)
        if wanted:
            selecting.setdefault(namespace, []).append(rules)
        else:
            by_namespace.setdefault(namespace, {})[host] = rules
    return RuleIndex(by_namespace, {key: tuple(found) for key, found in selecting.items()}, tuple(notes), root)


def _age(rule: DestinationRule) -> tuple[str, str, str]:
    meta = rule.metadata
    return (meta.creation_timestamp or "", meta.namespace, meta.name)


def _merged(
    host: str,
    namespace: str,
    selector: Labels,
    group: list[DestinationRule],
    default_export: tuple[str, ...],
    notes: list[Diagnostic],
) -> Rules:
    policy: TrafficPolicy | None = None
    policy_origin: Origin | None = None
    subsets: dict[str, tuple[Subset, Origin]] = {}
    for rule in group:
        if rule.spec.traffic_policy is not None:
            if policy_origin is None:
                policy, policy_origin = rule.spec.traffic_policy, Origin(rule.ref, ("spec", "trafficPolicy"))
            else:
                path = ("spec", "trafficPolicy")
                notes.append(diagnostic("XDS3001", rule.ref, path, host=host, first=policy_origin.ref))
        for index, subset in enumerate(rule.spec.subsets):
            origin = Origin(rule.ref, ("spec", "subsets", index))
            first = subsets.setdefault(subset.name, (subset, origin))
            if first[1] is not origin:
                notes.append(diagnostic("XDS3002", rule.ref, origin.path, subset=subset.name, first=first[1].ref))
    return Rules(
        host=host,
        namespace=namespace,
        exported_to=exported_to(group[0].spec.export_to, namespace, default_export),
        traffic_policy=policy,
        policy_origin=policy_origin,
        subsets=subsets,
        origins=tuple(Origin(rule.ref) for rule in group),
        selector=selector,
    )
