"""One change takes as many steps in a large mesh as in a small one: counted in calls of functions, not in time."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pytest

from tests.property.worlds import ISTIO, World, made, snapshot
from xds_server import certs
from xds_server.diagnostics import ObjectRef
from xds_server.envoy.resource import ROUTE
from xds_server.memo import Generations
from xds_server.mesh.proxy import EVERY_GATEWAY, Interception, Proxy, ProxyKind
from xds_server.translate import translate

PROXIES = {
    "gateway": EVERY_GATEWAY,
    "sidecar": Proxy(ProxyKind.SIDECAR, "shop", interception=Interception.NONE),
    "redirected": Proxy(ProxyKind.SIDECAR, "shop", dns_capture=True),
    "grpc": Proxy(ProxyKind.GRPC, "shop"),
}
NOW = datetime.now(UTC)
PAIRS = [certs.issued(certs.authority(NOW, 1), ["x.example.com"], NOW, 1) for _ in range(2)]
Item = tuple[ObjectRef, bytes]


def service(number: int, more: int = 0) -> Item:
    """With something to say of it."""
    ports = [{"name": "http", "port": 80}, *({"name": f"p{n}", "port": 9000 + n} for n in range(more))]
    spec = {"clusterIP": f"10.0.{number // 250}.{number % 250}", "ports": ports}
    annotations = {"cloud.google.com/neg": "{}"}
    return made("", "Service", "v1", "shop", f"s{number}", spec=spec, annotations=annotations)


def endpoints(number: int, count: int = 1) -> Item:
    found = [{"addresses": [f"10.9.{number % 250}.{n}"]} for n in range(count)]
    return made(
        "discovery.k8s.io", "EndpointSlice", "v1", "shop", f"s{number}", addressType="IPv4", endpoints=found,
        ports=[{"name": "http", "port": 80}], labels={"kubernetes.io/service-name": f"s{number}"},
    )  # fmt: skip


def routes(number: int, timeout: str = "1s", name: str = "s") -> Item:
    http = [{"timeout": timeout, "route": [{"destination": {"host": f"s{number}"}}]}]
    hosts = [f"h{number}.example.com", f"r{number}.wide.example.com"]
    spec = {"hosts": hosts, "gateways": [f"default/g{number}", "default/wide", "mesh"], "http": http}
    return made(ISTIO, "VirtualService", "v1", "shop", f"{name}{number}", spec=spec)


def gateway(number: int, lowest: str = "TLSV1_2") -> Item:
    """With a certificate of its own."""
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
        "hosts": [f"h{number}.example.com"],
        "tls": {"mode": "SIMPLE", "credentialName": f"c{number}", "minProtocolVersion": lowest},
    }
    return made(ISTIO, "Gateway", "v1", "default", f"g{number}", spec={"servers": [server]})


def wide(servers: int = 1) -> Item:
    """A Gateway that serves many VirtualServices, with the certificate of another Gateway, a host that is none, and one
    that another has."""
    hosts = ["*.wide.example.com", "a.*.b", "h0.example.com"]
    server = {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": hosts}
    secured = server | {"tls": {"mode": "SIMPLE", "credentialName": "c0", "minProtocolVersion": "TLSV1_3"}}
    plain = [
        {"port": {"number": 8000 + n, "name": f"p{n}", "protocol": "HTTP"}, "hosts": hosts} for n in range(servers)
    ]
    return made(ISTIO, "Gateway", "v1", "default", "wide", spec={"servers": [secured, *plain]})


def secret(number: int, version: int = 1) -> Item:
    pair = {"tls.crt": PAIRS[version % 2].certificate, "tls.key": PAIRS[version % 2].key}
    data = {name: b64encode(content).decode() for name, content in pair.items()}
    return made("", "Secret", "v1", "default", f"c{number}", type="kubernetes.io/tls", data=data)


def rule(number: int, most: int = 1) -> Item:
    spec = {"host": f"s{number}", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": most}}}}
    return made(ISTIO, "DestinationRule", "v1", "shop", f"s{number}", spec=spec)


def pod(number: int, version: int = 1) -> Item:
    labels = {"app": f"a{number}", "version": f"v{version}"}
    return made("", "Pod", "v1", "shop", f"p{number}", labels=labels, status={"podIP": f"10.9.{number % 250}.0"})


def entry(number: int, port: int = 80) -> Item:
    spec = {
        "hosts": [f"e{number}.example.com"],
        "ports": [{"number": port, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "workloadSelector": {"labels": {"app": f"a{number}"}},
    }
    return made(ISTIO, "ServiceEntry", "v1", "shop", f"e{number}", spec=spec)


def workload(number: int, weight: int = 1) -> Item:
    spec = {"address": f"10.8.{number // 250}.{number % 250}", "labels": {"app": f"a{number}"}, "weight": weight}
    return made(ISTIO, "WorkloadEntry", "v1", "shop", f"w{number}", spec=spec)


def sidecar(number: int, host: str = "*") -> Item:
    spec = {"workloadSelector": {"labels": {"app": f"a{number}"}}, "egress": [{"hosts": [f"./{host}"]}]}
    return made(ISTIO, "Sidecar", "v1", "shop", f"s{number}", spec=spec)


def mesh(size: int) -> World:
    kinds = (service, endpoints, routes, gateway, secret, rule, pod, entry, workload, sidecar)
    return dict([wide(), *(kind(number) for number in range(size) for kind in kinds)])


CHANGES: dict[str, Callable[[int], Item]] = {
    "endpoints": lambda n: endpoints(3, n),
    "a service": lambda n: service(3, n),
    "routes": lambda n: routes(3, f"{n}s"),
    "a secret": lambda n: secret(3, n),
    "a secret of two": lambda n: secret(0, n),
    "a policy": lambda n: rule(3, n),
    "a pod": lambda n: pod(3, n),
    "a service entry": lambda n: entry(3, n),
    "a workload": lambda n: workload(3, n),
    "a sidecar": lambda n: sidecar(3, f"s{n}"),
    "another service": lambda n: service(1000 + n),
    "other routes": lambda n: routes(n, name="other"),
}
"""What comes next, the n-th time."""


def steps(size: int, proxy: Proxy, change: Callable[[int], Item]) -> int:
    """The fewest calls that any of some changes takes; another may find that a collection is due to be copied."""
    world, memo = mesh(size), Generations()
    now = snapshot(world)
    assert len(translate(now, proxy, memo).diagnostics) >= size
    memo.turn()
    found = []
    for number in range(2, 6):
        ref, body = change(number)
        world[ref] = body
        now = snapshot(world, now)
        found.append(calls(lambda: translate(now, proxy, memo)))  # noqa: B023  # called at once
        memo.turn()
    return min(found)


def calls(action: Callable[[], object]) -> int:
    count = 0

    def called(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(called)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", PROXIES)
def test_a_change_takes_no_more_steps_in_a_larger_mesh(kind: str, change: str) -> None:
    few, many = (steps(size, PROXIES[kind], CHANGES[change]) for size in (150, 450))
    assert few > 20
    assert many <= 1.1 * few


def test_a_gateway_that_comes_leaves_the_routes_of_others_alone() -> None:
    world, memo = mesh(5) | dict([secret(9)]), Generations()
    first = snapshot(world)
    before = translate(first, EVERY_GATEWAY, memo).resources.by_type[ROUTE]
    memo.turn()
    after = translate(snapshot(world | dict([gateway(9)]), first), EVERY_GATEWAY, memo).resources.by_type[ROUTE]
    assert after.keys() - before.keys() == {"https.443.https.g9.default"}
    assert len(before) == 7
    assert [name for name in before if before[name] is not after[name]] == []
