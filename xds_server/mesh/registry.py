"""All services and their endpoints, indexed by what the rest asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from xds_server.diagnostics import Diagnostic
from xds_server.incremental import Fixed, partitioned, rekeyed, united
from xds_server.kube import core
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Memo
from xds_server.mesh.endpoints import NO_ENDPOINTS, ServiceEndpoints, node_locality
from xds_server.mesh.located import (
    Located,
    ServiceKey,
    entry_services_of,
    external_names,
    kubernetes_services,
    service_key,
)
from xds_server.mesh.model import Alias, Locality, Nearness, Service, Value
from xds_server.mesh.service_rank import claimed_addresses, led_to, ranked_hosts, seen
from xds_server.mesh.suggestions import spelling
from xds_server.mesh.visibility import visible
from xds_server.mesh.workloads import Workloads, workloads


class Registry(Value, frozen=True, eq=False, gc=False):
    """by_host: host -> its services, the one that wins first. endpoints: of every service.
    by_alias: another name of a service -> the namespaces that see it, and the service.
    spelling: the hosts, for suggestions.
    node_matters: whether what a proxy gets may depend on the node that it runs on."""

    by_host: Mapping[str, tuple[Service, ...]] = {}
    endpoints: Mapping[ServiceKey, ServiceEndpoints] = {}
    by_alias: Mapping[str, tuple[Alias, Service]] = {}
    spelling: Mapping[str, Mapping[str, str]] = {}
    workloads: Workloads = Workloads()
    node_matters: bool = False
    diagnostics: Collection[Diagnostic] = ()

    def find(self, host: str, namespace: str) -> Service | None:
        """The service of this host that a client in `namespace` sees: its own namespace's, else the first; else the
        one that the host is an alias of."""
        found = seen(self.by_host.get(host, ()), namespace)
        if found or not self.by_alias:
            return found
        alias, service = self.by_alias.get(host, (None, None))
        return service if alias is not None and visible(alias.exported_to, namespace) else None

    def endpoints_of(self, service: Service) -> ServiceEndpoints:
        return self.endpoints.get(service_key(service), NO_ENDPOINTS)

    def node_locality(self, node: str) -> Locality:
        """Where a node is, empty when nothing is known of it."""
        return node_locality(self.workloads.nodes.get(node))


def registry(snapshot: Snapshot, memo: Memo, default_export: tuple[str, ...] = ()) -> Registry:
    """default_export: the namespaces that see services which do not say who does."""
    index = workloads(snapshot, memo)
    notes: list[Fixed[Any, tuple[Diagnostic, ...]]] = [index.notes]
    services, outer = kubernetes_services(snapshot, index, memo, default_export, notes)
    entries = entry_services_of(snapshot, index, memo, default_export, notes)
    inner = partitioned(memo, "inner hosts", _by_host, services, entries)
    aliases, outside = external_names(outer, inner, memo, default_export, notes)
    hosts = partitioned(memo, "hosts", _by_host, services, entries, outside)
    claimed = claimed_addresses(snapshot.of(core.Service), hosts, memo, notes)
    by_host = ranked_hosts(hosts, claimed, aliases, memo, notes)
    by_alias = led_to(aliases, by_host, memo, notes)
    located: dict[str, Fixed[Any, Located]] = {"services": services, "entries": entries, "outside": outside}
    endpoints, _ = rekeyed(memo, "endpoints", located, _endpoints)
    return Registry(
        by_host,
        endpoints,
        by_alias,
        spelling(by_host, memo),
        index,
        bool(united(memo, "node matters", located, _by_node)),
        united(memo, "notes", {str(number): rows for number, rows in enumerate(notes)}, lambda found: found),
    )


def _endpoints(located: Located) -> Iterator[tuple[ServiceKey, ServiceEndpoints]]:
    for service, found in located.pairs:
        yield service_key(service), found


def _by_node(located: Located) -> Iterator[bool]:
    for service, found in located.pairs:
        if service.node_local or service.prefers is Nearness.NODE or found.for_nodes:
            yield True


def _by_host(key: Any, located: Located) -> Iterator[tuple[str, ServiceKey, Service]]:
    for service, _ in located.pairs:
        yield service.host, service_key(service), service
