"""Which DestinationRules apply to a service, as a client of one namespace sees it.

Lookup: the client's namespace, then the service's, then the root namespace; the first with a match ends the search.
Within one, the most specific host wins. Several rules of the same namespace and host are read as one: the first
trafficPolicy and the first subset of each name count (istio pilot/pkg/model/destination_rule.go). Rules with a
workloadSelector are for the clients of their own namespace that have its labels, and come before all others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.incremental import EMPTY, Fixed, derived, partitioned, united
from xds_server.kube.istio.destination_rule import DestinationRule, Subset, TrafficPolicy
from xds_server.memo import Memo, no_memo
from xds_server.mesh import names
from xds_server.mesh.endpoints import labels_of
from xds_server.mesh.model import Labels, Service, Value
from xds_server.mesh.origin import Origin
from xds_server.mesh.placement import prioritised_labels
from xds_server.mesh.policy import Layer
from xds_server.mesh.visibility import exported_to, visible

ROOT_NAMESPACE = "istio-system"


class Rules(Value, frozen=True, eq=False, gc=False):
    """What all the rules of one namespace, host and selector say together.
    subsets: name -> (its rule, its place in it). selector: labels of the clients that they are for, empty for all.
    age: of the oldest, by which it comes before others."""

    host: str
    namespace: str
    exported_to: frozenset[str]
    traffic_policy: TrafficPolicy | None
    policy_origin: Origin | None
    subsets: Mapping[str, tuple[Subset, Origin]]
    origins: tuple[Origin, ...]
    selector: Labels = ()
    age: tuple[str, str, str] = ("", "", "")

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
    """All rules by their host: namespace and labels of its clients -> what is said to them.
    by_host: those of hosts, by_wildcard: those of wildcards such as `*.shop.svc.cluster.local`.
    asked: the labels of clients on which something depends."""

    by_host: Mapping[str, Mapping[Key, Rules]] = {}
    by_wildcard: Fixed[str, Fixed[Key, Rules]] = EMPTY
    diagnostics: Collection[Diagnostic] = ()
    root: str = ROOT_NAMESPACE
    asked: Mapping[str, str] = EMPTY

    def find(self, service: Service, client_namespace: str, labels: Labels | None = ()) -> Rules | None:
        """labels: the client's; None: unknown, so that every selector holds."""
        hosts = (service.host, service.parent) if service.parent else (service.host,)
        found = [rules for host in hosts for rules in self._of(host)]
        if not found:
            return None
        for same in found:
            ours = [
                rules
                for (namespace, selector), rules in same.items()
                if namespace == client_namespace and selector and (labels is None or set(selector) <= set(labels))
            ]
            if ours:
                return min(ours, key=_oldest)
        for namespace in dict.fromkeys((client_namespace, service.namespace, self.root)):
            rules = next((same[namespace, ()] for same in found if (namespace, ()) in same), None)
            if rules and (namespace == client_namespace or visible(rules.exported_to, client_namespace)):
                return rules
        return None

    def _of(self, host: str) -> Iterator[Mapping[Key, Rules]]:
        """What there is for a host, the most specific first."""
        exact = self.by_host.get(host)
        if exact is not None:
            yield exact
        if not self.by_wildcard:
            return
        if host in self.by_wildcard:
            yield self.by_wildcard[host]
        rest = host
        while rest:
            _, _, rest = rest.partition(".")
            wildcard = self.by_wildcard.get(f"*.{rest}" if rest else "*")
            if wildcard:
                yield wildcard


Key = tuple[str, Labels]
"""Namespace of the rules, and labels of the clients that they are for; empty for all clients."""


def _oldest(rules: Rules) -> tuple[str, str, str]:
    return rules.age


def rule_index(
    objects: Fixed[tuple[str, str], DestinationRule],
    root: str = ROOT_NAMESPACE,
    default_export: tuple[str, ...] = (),
    memo: Memo = no_memo,
) -> RuleIndex:
    """root: the namespace whose rules are for all. default_export: where those that say nothing are seen."""

    def spread(key: tuple[str, str], rule: DestinationRule) -> Iterator[tuple[Any, tuple[str, str], DestinationRule]]:
        namespace, selector = rule.metadata.namespace, rule.spec.workload_selector
        wanted = labels_of(selector.match_labels) if selector else ()
        yield (names.full_host(rule.spec.host, namespace), (namespace, wanted)), key, rule

    def merged(key: tuple[str, Key], group: Fixed[Any, DestinationRule]) -> tuple[Rules, tuple[Diagnostic, ...]]:
        host, (namespace, wanted) = key
        notes: list[Diagnostic] = []
        return _merged(host, namespace, wanted, sorted(group.values(), key=_age), default_export, notes), tuple(notes)

    def by_host(wildcards: bool) -> Callable[[Any, Any], Iterator[tuple[str, Key, Rules]]]:
        def spread(key: tuple[str, Key], found: tuple[Rules, Any]) -> Iterator[tuple[str, Key, Rules]]:
            if key[0].startswith("*") is wildcards:
                yield key[0], key[1], found[0]

        return spread

    groups = partitioned(memo, "rules", spread, objects)
    found = derived(memo, "rules", merged, groups, context=default_export)
    return RuleIndex(
        partitioned(memo, "rules by host", by_host(False), found),
        partitioned(memo, "rules by wildcard", by_host(True), found),
        united(memo, "notes on rules", {"": found}, lambda made: made[1]),
        root,
        united(memo, "labels asked for by rules", {"": objects}, _labels),
    )


def _labels(rule: DestinationRule) -> Iterator[str]:
    """Of clients, those that it asks for."""
    selector = rule.spec.workload_selector
    yield from selector.match_labels if selector else ()
    policies = (rule.spec.traffic_policy, *(subset.traffic_policy for subset in rule.spec.subsets))
    for policy in filter(None, policies):
        balancers = (policy.load_balancer, *(setting.load_balancer for setting in policy.port_level_settings))
        for balancer in filter(None, balancers):
            yield from prioritised_labels(balancer.locality_lb_setting)


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
        age=_age(group[0]),
    )
