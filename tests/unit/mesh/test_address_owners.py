"""Whose an address is that several ServiceEntries and a Service claim, whatever was there before."""

from __future__ import annotations

import pytest

from tests.objects import objects, snapshot_of_objects
from xds_server.incremental import edited
from xds_server.kube.meta import Object
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Generations, no_memo
from xds_server.mesh.proxy import Proxy, ProxyKind
from xds_server.translate import translate

SERVICE = """
    apiVersion: v1
    kind: Service
    metadata: {name: web, namespace: shop}
    spec: {clusterIP: 10.0.0.1, externalIPs: [192.0.2.9], ports: [{name: tcp, port: 5432}]}
"""
ENTRY = """
    apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: {name: %s, namespace: shop}
    spec:
      hosts: [%s]
      addresses: [192.0.2.9]
      resolution: STATIC
      endpoints: [{address: 10.9.9.9}]
      ports: [{number: 5432, name: tcp, protocol: TCP}]
"""
SIDECAR = Proxy(ProxyKind.SIDECAR, "shop")
FOUR = {"e1": "h.com", "e2": "h.com", "e3": "i.com", "e4": "j.com"}


def world(*names: str) -> list[Object]:
    return objects(SERVICE, *(ENTRY % (name, FOUR[name]) for name in names))


def without(before: Snapshot, *names: str) -> Snapshot:
    return Snapshot(
        by_type={kind: edited(rows, {("shop", name): None for name in names}) for kind, rows in before.by_type.items()}
    )


def told(snapshot: Snapshot, memo: object = no_memo) -> tuple[list[str], dict[str, dict[str, str]]]:
    made = translate(snapshot, SIDECAR, memo)  # type: ignore[arg-type]
    rows = made.resources.by_type.items()
    return [str(found) for found in made.diagnostics], {t: {n: r.version for n, r in of.items()} for t, of in rows}


@pytest.mark.parametrize("there", [("e1", "e2", "e3"), tuple(FOUR)], ids=len)
@pytest.mark.parametrize("gone", [("e1",), ("e2",), ("e1", "e2"), ("e3",)], ids=str)
def test_the_next_has_it_when_some_go(there: tuple[str, ...], gone: tuple[str, ...]) -> None:
    memo, before = Generations(), snapshot_of_objects(world(*there))
    told(before, memo)
    memo.turn()
    after = without(before, *gone)
    assert told(after, memo) == told(after)


def test_the_order_of_the_input_does_not_matter() -> None:
    service, one, two = world("e1", "e2")
    assert told(snapshot_of_objects([service, one, two])) == told(snapshot_of_objects([service, two, one]))
