"""Which endpoints a proxy uses first, and which share of its requests goes where, by where it runs.

As in Istio (pilot/pkg/networking/core/loadbalancer), with two differences: only `localityLbSetting` switches it on,
not any outlierDetection; and asking for failover without outlierDetection brings a default one, for without it no
proxy would notice that there is a reason to fail over (istio#48084, #12961).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import ceil

import msgspec

from xds_server.kube.istio import destination_rule as dr
from xds_server.mesh.endpoints import REGION, SUBZONE, ZONE, parse_locality
from xds_server.mesh.model import Endpoint, Labels, Locality, LocalityWeights, Outlier

DEFAULT_OUTLIER = Outlier(consecutive_5xx=0, consecutive_gateway=5, max_ejection_percent=100)
"""Five times in a row no answer from the application, only 502, 503 or 504: the endpoint is out for 30 seconds."""


class Placement(msgspec.Struct, frozen=True, gc=False):
    """What `localityLbSetting` says, as seen from one proxy.

    shares: (locality pattern, percent), of the first `distribute` whose `from` the proxy is in; empty for none.
    failover: (from region, to region). failover_priority: `label` or `label=value`, the most important first.
    """

    locality: Locality
    labels: Labels
    shares: tuple[tuple[str, int], ...] = ()
    failover: tuple[tuple[str, str], ...] = ()
    failover_priority: tuple[str, ...] = ()


class Placed(msgspec.Struct, frozen=True):
    endpoints: tuple[Endpoint, ...]
    weights: LocalityWeights = ()


def placement(setting: dr.LocalityLbSetting | None, locality: Locality, labels: Labels) -> Placement | None:
    """None when it makes no difference where the proxy runs."""
    if setting is None or setting.enabled is False:
        return None
    if setting.distribute:
        to = next((entry.to for entry in setting.distribute if matches(entry.from_, locality)), {})
        return Placement(locality, (), shares=tuple(sorted(to.items()))) if to else None
    failover = tuple((entry.from_, entry.to) for entry in setting.failover)
    if not setting.failover_priority:
        return Placement(locality, (), failover=failover) if locality.region else None
    wanted = set(prioritised_labels(setting))
    known = {**dict(labels), **_topology(locality)}
    ours = tuple(sorted((key, value) for key, value in known.items() if key in wanted))
    return Placement(locality, ours, failover=failover, failover_priority=setting.failover_priority)


def prioritised_labels(setting: dr.LocalityLbSetting | None) -> Iterator[str]:
    for entry in setting.failover_priority if setting else ():
        yield entry.partition("=")[0]


def fails_over(setting: dr.LocalityLbSetting | None) -> bool:
    return setting is not None and setting.enabled is not False and not setting.distribute


def matches(pattern: str, locality: Locality) -> bool:
    """`region/zone/subzone`, each perhaps `*` or left out at the end."""
    wanted = parse_locality(pattern)
    pairs = ((wanted.region, locality.region), (wanted.zone, locality.zone), (wanted.subzone, locality.subzone))
    return all(want in ("", "*", got) for want, got in pairs)


def placed(endpoints: tuple[Endpoint, ...], seen: Placement | None) -> Placed:
    if seen is None:
        return Placed(endpoints)
    return _shared(endpoints, seen.shares) if seen.shares else Placed(_prioritised(endpoints, seen))


def _shared(endpoints: tuple[Endpoint, ...], shares: Iterable[tuple[str, int]]) -> Placed:
    """A locality belongs to the most specific pattern; those of one pattern divide its percent by their weights.
    Localities of no pattern get nothing."""
    ranked = sorted(shares, key=lambda share: (-_specificity(share[0]), share[0]))
    members: dict[str, dict[Locality, int]] = {}
    for endpoint in endpoints:
        pattern = next((pattern for pattern, _ in ranked if matches(pattern, endpoint.locality)), None)
        if pattern is not None:
            weights = members.setdefault(pattern, {})
            weights[endpoint.locality] = weights.get(endpoint.locality, 0) + endpoint.weight
    percents = dict(ranked)
    result = {
        locality: ceil(percents[pattern] * 100 * weight / sum(weights.values()))
        for pattern, weights in members.items()
        for locality, weight in weights.items()
        if percents[pattern]
    }
    kept = tuple(endpoint for endpoint in endpoints if endpoint.locality in result)
    return Placed(kept, tuple(sorted(result.items())))


def _specificity(pattern: str) -> int:
    return sum(part not in ("", "*") for part in pattern.split("/"))


def _prioritised(endpoints: tuple[Endpoint, ...], seen: Placement) -> tuple[Endpoint, ...]:
    """Priorities from 0 without gaps, as Envoy wants them."""
    ranks = {endpoint: _rank(endpoint, seen) for endpoint in endpoints}
    numbers = {rank: number for number, rank in enumerate(sorted(set(ranks.values())))}
    return tuple(msgspec.structs.replace(endpoint, priority=numbers[ranks[endpoint]]) for endpoint in endpoints)


def _rank(endpoint: Endpoint, seen: Placement) -> tuple[int, int]:
    by_label = _by_labels(endpoint, seen) if seen.failover_priority else 0
    by_locality = 0 if seen.failover_priority and not seen.failover else _by_locality(endpoint.locality, seen)
    return by_label, by_locality


def _by_labels(endpoint: Endpoint, seen: Placement) -> int:
    """How many of the labels, counted from the first that differs."""
    ours, theirs = dict(seen.labels), {**dict(endpoint.labels), **_topology(endpoint.locality)}
    for index, entry in enumerate(seen.failover_priority):
        label, given, value = entry.partition("=")
        wanted = value if given else ours.get(label)
        if wanted is None or theirs.get(label) != wanted:
            return len(seen.failover_priority) - index
    return 0


def _by_locality(locality: Locality, seen: Placement) -> int:
    """0 for the same subzone, 1 zone, 2 region, 3 elsewhere, 4 in another region than failover names."""
    ours = seen.locality
    if locality.region != ours.region:
        target = next((to for origin, to in seen.failover if origin == ours.region), None)
        return 3 if target in (None, locality.region) else 4
    if locality.zone != ours.zone:
        return 2
    return 0 if locality.subzone == ours.subzone else 1


def _topology(locality: Locality) -> Mapping[str, str]:
    """The labels that Nodes have for it."""
    named = {REGION: locality.region, ZONE: locality.zone, SUBZONE: locality.subzone}
    return {label: value for label, value in named.items() if value}
