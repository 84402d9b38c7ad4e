"""Sidecars' views in few words, for tables."""

from __future__ import annotations

from collections.abc import Iterator

from tests.objects import seen
from xds_server.diagnostics import Diagnostic
from xds_server.mesh.model import Chain, ChainMatch, Forward, Http, Listener, Redirect, RouteTable, View
from xds_server.mesh.proxy import Interception, Proxy, ProxyKind


def sidecar(interception: str = "REDIRECT", namespace: str = "shop", **more: object) -> Proxy:
    labels = (("app", "cart"),)
    return Proxy(ProxyKind.SIDECAR, namespace, labels, interception=Interception(interception), **more)  # type: ignore[arg-type]  # any of its fields


def view_of(*texts: str, proxy: Proxy) -> tuple[View, list[str]]:
    """The view, and the codes with the names of the objects that they are about."""
    view, notes = seen(*texts, proxy=proxy)
    return view, sorted({_said(note) for note in notes})


def _said(note: Diagnostic) -> str:
    return f"{note.code} {note.ref.name if note.ref else ''}".strip()


def outbound(view: View) -> dict[str, list[str]]:
    """Listener -> its chains as `match -> where`, without those that every sidecar has."""
    return {
        each.name: _chains(each)
        for each in view.listeners.values()
        if each.direction.value == "outbound" and not each.hands_on
    }


def inbound(view: View) -> dict[str, list[str]]:
    return {each.name: _chains(each) for each in view.listeners.values() if each.direction.value == "inbound"}


def _chains(listener: Listener) -> list[str]:
    found = [f"{match(chain.match)} -> {where(chain)}" for chain in listener.chains]
    return [*found, *([f"else -> {where(listener.default_chain)}"] if listener.default_chain else [])]


def match(value: ChainMatch) -> str:
    parts = [
        f":{value.port}" if value.port else "",
        " ".join(value.destinations),
        " ".join(f"sni={name}" for name in value.server_names),
        "http?" if value.detected_http else "",
    ]
    return " ".join(part for part in parts if part) or "all"


def where(chain: Chain) -> str:
    """HTTP by a route table, or backends without the domain of the cluster."""
    if isinstance(chain.traffic, Http):
        return f"routes {chain.traffic.route_table.replace('.svc.cluster.local', '')}"
    names = [each.backend.replace(".svc.cluster.local", "") for each in chain.traffic.destinations]
    return ("tls " if chain.tls else "") + (" ".join(names) or "closed")


def routes(view: View, name: str) -> dict[str, list[str]]:
    """Virtual host -> what its routes do."""
    [table] = [each for each in view.route_tables.values() if each.name == name]
    return {
        host.name.replace(".svc.cluster.local", ""): list(_actions(table, host.name)) for host in table.virtual_hosts
    }


def _actions(table: RouteTable, name: str) -> Iterator[str]:
    for host in table.virtual_hosts:
        for route in host.routes if host.name == name else ():
            if isinstance(route.action, Forward):
                yield " ".join(each.backend.replace(".svc.cluster.local", "") for each in route.action.destinations)
            else:
                yield "redirect" if isinstance(route.action, Redirect) else str(route.action.status)
