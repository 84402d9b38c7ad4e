"""What one change costs, from a new snapshot to the bytes of a proxy group, beside the first translation of all.

    python -m benchmarks.translation [--services 100 1000 5000 10000] [--json FILE]

CPU time of this process, the best of several changes. The last of each kind compare the largest mesh with one of a
tenth of its size. What a kind of proxy does not see, such as the Secret of a gateway, must be found out as well.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import os
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import msgspec

from benchmarks import report
from benchmarks.report import Figure
from benchmarks.usage import memory
from tests.envoy_config import message
from xds_server import certs, process
from xds_server.diagnostics import ObjectRef
from xds_server.envoy.resource import EMPTY, Resources
from xds_server.incremental import changed, edited, fixed
from xds_server.kube.core import Secret, Service
from xds_server.kube.decode import decode
from xds_server.kube.discovery import EndpointSlice
from xds_server.kube.istio.destination_rule import DestinationRule
from xds_server.kube.istio.gateway import Gateway
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.kube.meta import Object, Raw, Source
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Generations
from xds_server.mesh.proxy import EVERY_GATEWAY, Interception, Proxy, ProxyKind
from xds_server.translate import translate

ENDPOINTS = 10
NAMESPACES = 20
CHANGES = 11
PROXIES = {
    "gateway": EVERY_GATEWAY,
    "sidecar": Proxy(ProxyKind.SIDECAR, "ns0", interception=Interception.NONE),
}

EDGE, SAFE, KEY = ("ns0", "edge"), ("ns0", "safe"), ("ns0", "edge-key")
NOW = datetime.datetime.now(datetime.UTC)
AUTHORITY = certs.authority(NOW, 1)
PAIRS = [certs.issued(AUTHORITY, [f"{number}.example.org"], NOW, 1) for number in range(2)]

Objects = dict[type[Object], dict[tuple[str, str], Object]]


def made(version: str, kind: str, key: tuple[str, str], labels: dict[str, str] | None = None, **fields: Any) -> Object:
    namespace, name = key
    meta = {"name": name, "namespace": namespace, "labels": labels or {}}
    body = msgspec.json.encode({"apiVersion": version, "kind": kind, "metadata": meta, **fields})
    group = version.rpartition("/")[0]
    found = decode(Raw(ObjectRef(group, kind, namespace, name), version, body, Source(), b"")).object
    assert found is not None
    return found


def piece(key: tuple[str, str], number: int, count: int) -> Object:
    addresses = [f"10.{128 + (number >> 14)}.{number >> 6 & 255}.{(number & 63) * 4 + at % 4}" for at in range(count)]
    return made(
        "discovery.k8s.io/v1", "EndpointSlice", key, {"kubernetes.io/service-name": key[1]},
        addressType="IPv4", ports=[{"name": "http", "port": 8000 + number % 100}],
        endpoints=[{"addresses": [address]} for address in addresses],
    )  # fmt: skip


def routes(key: tuple[str, str], timeout: str = "", gateway: str = "ns0/edge") -> Object:
    """For the gateway; with a timeout, for sidecars too."""
    rest = {"route": [{"destination": {"host": key[1]}}], "timeout": timeout or "1s"}
    spec = {
        "hosts": [f"{key[1]}.example.com"],
        "gateways": [gateway, *(["mesh"] if timeout else [])],
        "http": [rest],
    }
    return made("networking.istio.io/v1", "VirtualService", key, spec=spec)


def world(services: int) -> Objects:
    keys = [(f"ns{number % NAMESPACES}", f"svc{number}") for number in range(services)]
    server = {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    tls = {"mode": "SIMPLE", "credentialName": KEY[1]}
    safe = {"port": {"number": 8443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*.example.org"], "tls": tls}
    return {
        Service: {
            key: service(key, f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
            for number, key in enumerate(keys)
        },
        EndpointSlice: {key: piece(key, number, ENDPOINTS) for number, key in enumerate(keys)},
        VirtualService: {key: routes(key) for key in keys},
        Gateway: {
            key: made("networking.istio.io/v1", "Gateway", key, spec={"servers": [each]})
            for key, each in ((EDGE, server), (SAFE, safe))
        },
        Secret: {KEY: secret(0)},
    }  # fmt: skip


def snapshot(objects: Objects) -> Snapshot:
    return Snapshot(by_type={kind: fixed(items) for kind, items in objects.items()})


def with_edit(base: Snapshot, kind: type[Object], key: tuple[str, str], new: Object | None) -> Snapshot:
    """The snapshot with one object edited, as the store makes it; None removes it."""
    return Snapshot(by_type={**base.by_type, kind: edited(base.of(kind), {key: new})})


def service(key: tuple[str, str], address: str, port: int = 80) -> Object:
    return made("v1", "Service", key, spec={"clusterIP": address, "ports": [{"name": "http", "port": port}]})


def rule(key: tuple[str, str], most: int) -> Object:
    policy = {"connectionPool": {"tcp": {"maxConnections": most}}}
    spec = {"host": key[1], "trafficPolicy": policy}
    return made("networking.istio.io/v1", "DestinationRule", key, spec=spec)


def entry(key: tuple[str, str], port: int) -> Object:
    ports = [{"number": port, "name": "http", "protocol": "HTTP"}]
    spec = {"hosts": [f"{key[1]}.example.org"], "ports": ports, "resolution": "DNS", "addresses": ["192.0.2.1"]}
    return made("networking.istio.io/v1", "ServiceEntry", key, spec=spec)


def secret(number: int, key: tuple[str, str] = KEY) -> Object:
    pair = PAIRS[number % len(PAIRS)]
    data = {"tls.crt": b64encode(pair.certificate).decode(), "tls.key": b64encode(pair.key).decode()}
    return made("v1", "Secret", key, type="kubernetes.io/tls", data=data)


def https(key: tuple[str, str], lowest: str = "TLSV1_2") -> Object:
    """A Gateway with a certificate of its own."""
    tls = {"mode": "SIMPLE", "credentialName": key[1], "minProtocolVersion": lowest}
    server = {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": [f"{key[1]}.example.com"]}
    return made("networking.istio.io/v1", "Gateway", key, spec={"servers": [server | {"tls": tls}]})


def served(servers: int) -> Objects:
    """As many services, each with a Gateway and a certificate of its own."""
    objects = world(servers)
    keys = list(objects[Service])
    objects[Gateway] |= {key: https(key) for key in keys}
    objects[Secret] |= {key: secret(0, key) for key in keys}
    objects[VirtualService] = {key: routes(key, gateway="/".join(key)) for key in keys}
    return objects


ONE, NEW = ("ns1", "svc1"), ("ns1", "new")
Edit = tuple[type[Object], tuple[str, str], Object | None]
CHANGED: dict[str, Callable[[int], Edit]] = {
    "one slice": lambda n: (EndpointSlice, ONE, piece(ONE, 1, n % 6 + 2)),
    "one route": lambda n: (VirtualService, ONE, routes(ONE, f"{n + 2}s")),
    "a route comes or goes": lambda n: (VirtualService, NEW, None if n % 2 else routes(NEW, "1s")),
    "one service": lambda n: (Service, ONE, service(ONE, "10.0.0.1", 1000 + n)),
    "a service comes or goes": lambda n: (Service, NEW, None if n % 2 else service(NEW, "10.1.0.1")),
    "one policy": lambda n: (DestinationRule, ONE, rule(ONE, n + 1)),
    "one service entry": lambda n: (ServiceEntry, NEW, entry(NEW, 1000 + n)),
    "one secret": lambda n: (Secret, KEY, secret(n + 1)),
}
"""What happens -> the object that is other than before, the n-th time."""
OF_SERVERS: dict[str, Callable[[int], Edit]] = {
    "one slice": CHANGED["one slice"],
    "one route": lambda n: (VirtualService, ONE, routes(ONE, f"{n + 2}s", "/".join(ONE))),
    "one certificate": lambda n: (Secret, ONE, secret(n + 1, ONE)),
    "one server": lambda n: (Gateway, ONE, https(ONE, f"TLSV1_{n % 2 + 2}")),
}
"""The same, where each has a server of its own."""


FLOORS = "protobuf alone parses the resources that come out new, and serialises them again"
ASKED = {"all": ("T9", 2000.0), "one slice": ("T8", 0.2)}
"""What is measured -> its target at 10,000 services, in ms."""
FLAT = 1.5
"""How much more a change may cost at ten times the size (T10)."""


def cpu(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return (time.process_time() - began) * 1000


class Spent(NamedTuple):
    """ms of CPU, those of the floor, and KB of the resources that come out new."""

    ms: float
    floor: float
    size: float


def measure(objects: Objects, proxy: Proxy, changes: dict[str, Callable[[int], Edit]] = CHANGED) -> dict[str, Spent]:
    """By what was done. The floor is measured after all changes of a kind: it would empty the caches of the processor
    for the next."""
    memo = Generations()
    base = snapshot(objects)
    gc.collect()
    gc.freeze()

    def run(of: Snapshot) -> tuple[float, Resources]:
        made: list[Resources] = []
        spent = cpu(lambda: made.append(translate(of, proxy, memo).resources))
        memo.turn()
        return spent, made[0]

    spent, made = run(base)
    result = {"all": Spent(spent, *_new(EMPTY, made))}
    for what, change in changes.items():
        times: list[float] = []
        for number in range(CHANGES):
            base, before = with_edit(base, *change(number)), made
            spent, made = run(base)
            times.append(spent)
        # The first may add an object where there was none of its kind. What comes and what goes both count, in turns.
        best = max(min(times[1::2]), min(times[2::2])) if "or goes" in what else min(times[1:])
        result[what] = Spent(best, *_new(before, made))
    return result


def _new(before: Resources, now: Resources) -> tuple[float, float]:
    """The floor and the size of what is new."""
    pairs = [(before.by_type[type_url], rows) for type_url, rows in now.by_type.items()]
    new = [rows[name] for old, rows in pairs for name in changed(old, rows) if name in rows]
    floor = cpu(lambda: [message(one).SerializeToString(deterministic=True) for one in new])
    return floor, sum(one.size for one in new) / 1024


def many(services: int, groups: int) -> tuple[dict[str, float], float]:
    """What was done -> ms of CPU, for sidecars of many namespaces and labels, all of them together; and the MB that
    they take, in a process that did nothing else before."""
    process.prepare()
    proxies = [
        Proxy(ProxyKind.SIDECAR, f"ns{n % NAMESPACES}", (("app", f"svc{n}"),), interception=Interception.NONE)
        for n in range(groups)
    ]
    memo, base = Generations(), snapshot(world(services))
    gc.collect()
    gc.freeze()
    made: list[Resources] = []

    def run(of: Snapshot) -> float:
        spent = cpu(lambda: made.__setitem__(slice(None), [translate(of, proxy, memo).resources for proxy in proxies]))
        memo.turn()
        return spent

    before = memory(os.getpid(), "VmRSS")
    result = {"all": run(base)}
    gc.collect()
    held = memory(os.getpid(), "VmRSS") - before
    for what in ("one slice", "one route", "one service"):
        found = []
        for number in range(CHANGES):
            base = with_edit(base, *CHANGED[what](number))
            found.append(run(base))
        result[what] = min(found[1:])
    return result, held


def peak(services: int) -> float:
    """The most MB that a gateway's changes need, in a process that did nothing else before."""
    process.prepare()
    measure(world(services), EVERY_GATEWAY)
    return memory(os.getpid())


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    process.prepare()  # as the server does
    sizes = [20, 200] if options.quick else sorted(options.services)
    for name, proxy in PROXIES.items():
        by_size = {size: measure(world(size), proxy) for size in sizes}
        for what in ("all", *CHANGED):
            for size in sizes:
                target, asked = ASKED.get(what, ("", None)) if size == 10_000 else ("", None)
                found = by_size[size][what]
                yield Figure(f"{name}, {what}, {size:,} services", found.ms, "ms CPU", found.floor, asked, target)
            yield Figure(f"{name}, {what}, {sizes[-1]:,} services: what is new", by_size[sizes[-1]][what].size, "KB")
            tenth = sizes[-1] // 10
            if what != "all" and tenth in by_size:
                ratio = by_size[sizes[-1]][what].ms / by_size[tenth][what].ms
                pair = f"{sizes[-1]:,} services against {tenth:,}"
                yield Figure(f"{name}, {what}, {pair}", ratio, "times", asked=FLAT, target="T10")
    for size in sizes[:1] if options.quick else (100, 1000):
        for what, found in measure(served(size), EVERY_GATEWAY, OF_SERVERS).items():
            yield Figure(f"gateway with {size:,} HTTPS servers, {what}", found.ms, "ms CPU", found.floor)
    alone = ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1)
    for size in sizes if options.quick else (1000, 10_000):
        for groups in (2,) if options.quick else (1, 10, 100):
            spent, held = alone.submit(many, size, groups).result()
            for what, value in spent.items():
                yield Figure(f"{groups} proxy groups, {what}, {size:,} services", value, "ms CPU")
            yield Figure(f"{groups} proxy groups, {size:,} services: memory", held, "MB")
    most = alone.submit(peak, sizes[-1]).result()
    yield Figure(f"most memory, one gateway, {sizes[-1]:,} services, with the input", most, "MB", None, 400, "T9")
    alone.shutdown()


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--services", type=int, nargs="+", default=[100, 1000, 5000, 10_000])


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, FLOORS, figures, arguments))
