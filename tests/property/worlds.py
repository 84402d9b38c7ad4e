"""Random, valid worlds: sets of objects that refer to each other, and changes of them."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from hypothesis import strategies as st

from xds_server.diagnostics import ObjectRef
from xds_server.kube.decode import decode
from xds_server.kube.kinds import KINDS
from xds_server.kube.meta import Object, Raw, Source
from xds_server.kube.snapshot import Snapshot, Table

ISTIO = "networking.istio.io"
NAMES = ("a", "b", "c")
NAMESPACES = ("default", "shop")
SUBSETS = ("v1", "v2")

World = dict[ObjectRef, bytes]
"""JSON of every object."""

names = st.sampled_from(NAMES)
namespaces = st.sampled_from(NAMESPACES)
ports = st.sampled_from((80, 443, 5432))
durations = st.sampled_from(("1s", "250ms", "1h"))


def made(group: str, kind: str, version: str, namespace: str, name: str, **fields: Any) -> tuple[ObjectRef, bytes]:
    labels = fields.pop("labels", {})
    value = {
        "apiVersion": f"{group}/{version}" if group else version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        **fields,
    }
    return ObjectRef(group, kind, namespace, name), msgspec.json.encode(value)


@st.composite
def services(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    numbers = draw(st.lists(ports, min_size=1, max_size=2, unique=True))
    protocol = draw(st.sampled_from(("http", "tcp", "tls", "x")))
    spec: dict[str, Any] = {
        "selector": {"app": draw(names)},
        "ports": [{"name": f"{protocol}-{number}", "port": number} for number in numbers],
    }
    address = draw(st.sampled_from(("", "None", "10.96.0.1", "10.96.0.2")))
    if address:
        spec["clusterIP"] = address
    return made("", "Service", "v1", draw(namespaces), draw(names), spec=spec)


@st.composite
def slices(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    service = draw(names)
    endpoints = [
        {
            "addresses": [f"10.1.0.{draw(st.integers(1, 9))}"],
            "conditions": {"ready": draw(st.booleans())},
            "targetRef": {"kind": "Pod", "name": draw(names)},
        }
        for _ in range(draw(st.integers(0, 3)))
    ]
    labels = {"kubernetes.io/service-name": service}
    listed = [{"name": draw(st.sampled_from(("http-80", "tcp-80", "x-80"))), "port": 8080}]
    return made(
        "discovery.k8s.io", "EndpointSlice", "v1", draw(namespaces), f"{service}-{draw(names)}",
        labels=labels, addressType="IPv4", ports=listed, endpoints=endpoints,
    )  # fmt: skip


@st.composite
def pods(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    labels = {"app": draw(names), "version": draw(st.sampled_from(SUBSETS))}
    status = {"podIP": f"10.2.0.{draw(st.integers(1, 9))}"}
    spec = {"containers": [{"name": "app"}]}
    return made("", "Pod", "v1", draw(namespaces), draw(names), labels=labels, spec=spec, status=status)


@st.composite
def destination_rules(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    spec: dict[str, Any] = {
        "host": draw(names),
        "subsets": [{"name": name, "labels": {"version": name}} for name in draw(st.sets(st.sampled_from(SUBSETS)))],
    }
    if draw(st.booleans()):
        spec["trafficPolicy"] = {
            "connectionPool": {"tcp": {"connectTimeout": draw(durations)}},
            "loadBalancer": draw(
                st.sampled_from(({"simple": "RANDOM"}, {"consistentHash": {"useSourceIp": True, "maglev": {}}}))
            ),
        }
    return made(ISTIO, "DestinationRule", "v1", draw(namespaces), draw(names), spec=spec)


@st.composite
def destinations(draw: st.DrawFn) -> dict[str, Any]:
    host = draw(st.sampled_from((*NAMES, "a.shop.svc.cluster.local", "nowhere", "api.example.com")))
    result: dict[str, Any] = {"host": host}
    if draw(st.booleans()):
        result["subset"] = draw(st.sampled_from(SUBSETS))
    if draw(st.booleans()):
        result["port"] = {"number": draw(ports)}
    return result


@st.composite
def http_routes(draw: st.DrawFn) -> dict[str, Any]:
    route: dict[str, Any] = {}
    if draw(st.booleans()):
        route["match"] = [{"uri": draw(st.sampled_from(({"prefix": "/x"}, {"exact": "/y"}, {"regex": "/z.*"})))}]
    if draw(st.booleans()):
        route["timeout"] = draw(durations)
    found = draw(st.lists(destinations(), min_size=1, max_size=2))
    route["route"] = [{"destination": found[0], "weight": 80}, *({"destination": d, "weight": 20} for d in found[1:])]
    return route


@st.composite
def virtual_services(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    bound = draw(st.sampled_from((["mesh"], ["a"], ["mesh", "default/a"])))
    hosts = draw(st.lists(st.sampled_from((*NAMES, "x.example.com", "*.example.com")), min_size=1, unique=True))
    spec: dict[str, Any] = {
        "hosts": hosts,
        "gateways": bound,
        "http": draw(st.lists(http_routes(), min_size=1, max_size=3)),
    }
    if draw(st.booleans()):
        spec["tcp"] = [{"route": [{"destination": draw(destinations())}]}]
    return made(ISTIO, "VirtualService", "v1", draw(namespaces), draw(names), spec=spec)


@st.composite
def gateways(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    protocol, number = draw(st.sampled_from((("HTTP", 80), ("HTTP", 8080), ("TCP", 5432), ("TLS", 443))))
    server: dict[str, Any] = {"port": {"number": number, "name": "p", "protocol": protocol}, "hosts": ["*"]}
    if protocol == "TLS":
        server["tls"] = {"mode": "PASSTHROUGH"}
    spec = {"selector": {"istio": "gateway"}, "servers": [server]}
    return made(ISTIO, "Gateway", "v1", draw(namespaces), draw(names), spec=spec)


@st.composite
def service_entries(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    resolution = draw(st.sampled_from(("DNS", "STATIC")))
    spec: dict[str, Any] = {
        "hosts": ["api.example.com"],
        "resolution": resolution,
        "ports": [{"number": draw(ports), "name": "http", "protocol": draw(st.sampled_from(("HTTP", "TLS", "TCP")))}],
    }
    if resolution == "STATIC":
        spec["endpoints"] = [{"address": f"10.3.0.{draw(st.integers(1, 9))}"}]
    return made(ISTIO, "ServiceEntry", "v1", draw(namespaces), draw(names), spec=spec)


@st.composite
def sidecars(draw: st.DrawFn) -> tuple[ObjectRef, bytes]:
    hosts = draw(st.sampled_from((["./*"], ["*/*"], ["shop/*"], ["~/*"])))
    return made(ISTIO, "Sidecar", "v1", draw(namespaces), draw(names), spec={"egress": [{"hosts": hosts}]})


anything = st.one_of(
    services(), slices(), pods(), destination_rules(), virtual_services(), gateways(), service_entries(), sidecars()
)
changes = st.lists(anything, min_size=1, max_size=4)


@functools.lru_cache(maxsize=50_000)
def _object(body: bytes) -> Object | None:
    """Cached, so that an object that did not change is the same object, as in the store."""
    value = msgspec.json.decode(body)
    group = value["apiVersion"].rpartition("/")[0]
    meta = value["metadata"]
    ref = ObjectRef(group, value["kind"], meta["namespace"], meta["name"])
    return decode(Raw(ref, value["apiVersion"], body, Source(), b"")).object


def snapshot(world: World, previous: Snapshot | None = None) -> Snapshot:
    """The objects of a world. A table in which nothing changed is that of the previous snapshot."""
    tables: dict[type[Object], dict[tuple[str, str], Object]] = {kind.type: {} for kind in KINDS.values()}
    for ref, body in world.items():
        found = _object(body)
        if found is not None:
            tables[type(found)][ref.namespace, ref.name] = found
    by_type = {}
    for kind, items in tables.items():
        made_table: Table[Any] = Table(sorted(items.items()))
        before = previous.of(kind) if previous else None
        same = before is not None and list(before.items()) == list(made_table.items())
        by_type[kind] = before if same and before is not None else made_table
    return Snapshot(by_type=by_type)
