"""The Sidecar resource: which of the mesh a workload's proxy sees.

Source: istio pilot/pkg/model/sidecar.go. A Sidecar that selects the workload wins over its namespace's own, that over
the root namespace's; without any, everything is seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.incremental import EMPTY, Fixed, derived, partitioned, united
from xds_server.kube.istio.sidecar import IstioEgressListener, IstioIngressListener, Sidecar
from xds_server.kube.snapshot import Table
from xds_server.memo import Memo
from xds_server.mesh.destination_rules import ROOT_NAMESPACE
from xds_server.mesh.endpoints import labels_of
from xds_server.mesh.hosts import narrower
from xds_server.mesh.model import Connections, Labels, Value
from xds_server.mesh.origin import Origin
from xds_server.mesh.policy import connections
from xds_server.mesh.protocols import declared_protocol
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.selection import Selectors, selecting, selectors

HTTP_PROXY = "HTTP_PROXY"
"""A protocol of egress ports alone: requests for any host and port, as a client sends them to an HTTP proxy."""


class HostFilter(msgspec.Struct, frozen=True):
    """namespace: `*` for all. host: perhaps a wildcard, `*` for all."""

    namespace: str
    host: str

    def takes(self, namespace: str, host: str) -> bool:
        return self.namespace in ("*", namespace) and (self.host == "*" or narrower(self.host, host) == host)

    def meets(self, namespace: str, host: str) -> bool:
        """As `takes`, or `host` is a wildcard that stands for hosts of the filter."""
        return self.namespace in ("*", namespace) and (self.host == "*" or narrower(self.host, host) is not None)


class Egress(msgspec.Struct, frozen=True):
    """One way out. port 0: for every port that nothing else names. index: its place in the Sidecar.
    address: where it listens, empty for the default.
    captured: False when it opens its port although the proxy's traffic is redirected."""

    hosts: tuple[HostFilter, ...]
    port: int = 0
    index: int = 0
    protocol: str = ""
    address: str = ""
    captured: bool = True

    @property
    def is_socket(self) -> bool:
        return self.address.startswith(("/", "@"))

    @property
    def is_http_proxy(self) -> bool:
        """Whether it takes HTTP for all ports of its services, told apart by the port in the request."""
        protocol = declared_protocol(self.protocol)
        return self.protocol.upper() == HTTP_PROXY or (self.is_socket and (protocol is None or protocol.is_http))

    def takes(self, namespace: str, host: str) -> bool:
        return any(each.takes(namespace, host) for each in self.hosts)

    def meets(self, namespace: str, host: str) -> bool:
        return any(each.meets(namespace, host) for each in self.hosts)


class Scope(msgspec.Struct, frozen=True):
    """sidecar None: nobody restricts it. ingress: None for the ports of the workload's own services.
    allow_any: connections to hosts that nobody knows are let through."""

    egress: tuple[Egress, ...]
    sidecar: Sidecar | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    inbound: Connections = Connections()
    allow_any: bool = True

    @property
    def origin(self) -> Origin | None:
        return Origin(self.sidecar.ref) if self.sidecar else None


EVERYTHING = Scope((Egress((HostFilter("*", "*"),)),))


Alike = Fixed[tuple[str, Labels], Fixed[tuple[str, str], Sidecar]]
"""Namespace and the labels that are selected, none for all -> those that say so."""


class Sidecars(Value, frozen=True, eq=False, gc=False):
    """by_label: those with a selector."""

    by_label: Selectors[Sidecar] = EMPTY
    alike: Alike = EMPTY
    diagnostics: Collection[Diagnostic] = ()
    root: str = ROOT_NAMESPACE

    def of(self, proxy: Proxy) -> Sidecar | None:
        selected = selecting(self.by_label, proxy.namespace, dict(proxy.labels or ()))
        plain = (self.alike.get((namespace, ()), EMPTY).values() for namespace in (proxy.namespace, self.root))
        return next((min(some, key=_age) for some in (tuple(selected), *plain) if some), None)


def _age(sidecar: Sidecar) -> tuple[str, str]:
    """By which the oldest of a namespace comes first."""
    return (sidecar.metadata.creation_timestamp or "", sidecar.metadata.name)


def _selector(sidecar: Sidecar) -> Mapping[str, str]:
    selector = sidecar.spec.workload_selector
    return selector.labels if selector else {}


def sidecars(objects: Table[Sidecar], memo: Memo, root: str = ROOT_NAMESPACE) -> Sidecars:
    """All Sidecars, and those that can never be chosen."""
    alike: Alike = partitioned(memo, "sidecars", _alike, objects)
    younger = derived(memo, "notes on sidecars", _younger, alike)
    notes = united(memo, "notes on sidecars", {"": younger}, lambda found: found)
    return Sidecars(selectors(memo, "sidecars", _selector, objects), alike, notes, root)


def _alike(key: tuple[str, str], sidecar: Sidecar) -> Iterator[tuple[tuple[str, Labels], tuple[str, str], Sidecar]]:
    yield (key[0], labels_of(_selector(sidecar))), key, sidecar


def _younger(_: object, same: Fixed[Any, Sidecar]) -> tuple[Diagnostic, ...] | None:
    first, *others = sorted(same.values(), key=_age)
    path = ("spec", "workloadSelector")
    return tuple(diagnostic("XDS3011", other.ref, path, first=first.ref) for other in others) or None


def scope(sidecar: Sidecar | None, namespace: str, allow_any: bool) -> Scope:
    """What a Sidecar says, for a proxy of `namespace`. allow_any: the mesh's own setting."""
    if sidecar is None:
        return msgspec.structs.replace(EVERYTHING, allow_any=allow_any)
    spec = sidecar.spec
    policy = spec.outbound_traffic_policy
    pool = spec.inbound_connection_pool
    listeners = enumerate(spec.egress)
    egress = tuple(_egress(listener, index, namespace) for index, listener in listeners) or EVERYTHING.egress
    return Scope(
        egress=egress,
        sidecar=sidecar,
        ingress=spec.ingress,
        inbound=connections(pool) if pool else Connections(),
        allow_any=policy.mode == "ALLOW_ANY" if policy else allow_any,
    )


def _egress(listener: IstioEgressListener, index: int, namespace: str) -> Egress:
    port = listener.port
    return Egress(
        hosts=tuple(_filter(host, namespace) for host in listener.hosts),
        port=port.number or 0 if port else 0,
        index=index,
        protocol=port.protocol if port else "",
        address=listener.bind.removeprefix("unix://"),
        captured=listener.capture_mode != "NONE",
    )


def _filter(text: str, own: str) -> HostFilter:
    namespace, _, host = text.partition("/")
    return HostFilter(own if namespace == "." else namespace, host.lower())
