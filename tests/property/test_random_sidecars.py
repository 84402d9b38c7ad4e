"""Random services and Sidecars: whatever is written, the real Envoy takes what a sidecar gets, and nothing is a bug."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
import yaml

from tests.envoy_config import as_dict, static_bootstrap, validate
from tests.objects import snapshot
from xds_server.envoy.resource import LISTENER, ROUTE, Resources
from xds_server.mesh.proxy import Interception, Proxy, ProxyKind
from xds_server.translate import translate

ADDRESSES = ["10.0.0.1", "10.0.0.2", "fd00::1"]
RANGES = ["10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/24", "192.0.2.0/24"]
PORTS = [80, 443, 3306, 8080, 15001, 15006, 15080]
NAMES = ["http", "tcp", "https", "tls", "grpc", "mysql", "unsaid"]
PROTOCOLS = ["HTTP", "TCP", "TLS", "HTTPS", "GRPC", "", "MONGO"]
HOSTS = ["a.example.com", "b.example.com", "*.example.com", "s0.shop.svc.cluster.local", "s1.shop"]
BINDS = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "10.0.0.1"]


def world(seed: int) -> list[dict[str, Any]]:
    random = Random(seed)

    def pick(values: list[Any], most: int) -> list[Any]:
        return random.sample(values, random.randint(1, min(most, len(values))))

    def service(number: int) -> dict[str, Any]:
        ports = [{"name": f"{random.choice(NAMES)}-{p}", "port": p} for p in pick(PORTS, 3)]
        ip = random.choice([None, "None", *ADDRESSES])
        spec = {"ports": ports, "selector": {"app": random.choice(["cart", "pod"])}} | ({"clusterIP": ip} if ip else {})
        return made("v1", "Service", f"s{number}", random.choice(["shop", "other"]), spec)

    def entry(number: int) -> dict[str, Any]:
        ports = [{"name": f"p{p}", "number": p, "protocol": random.choice(PROTOCOLS)} for p in pick(PORTS, 3)]
        spec = {"hosts": pick(HOSTS, 2), "ports": ports, "resolution": "NONE"}
        if random.random() < 0.7:
            spec["addresses"] = pick([*ADDRESSES, *RANGES], 3)
        return made("networking.istio.io/v1", "ServiceEntry", f"e{number}", "shop", spec)

    def virtual(number: int) -> dict[str, Any]:
        route = [{"destination": {"host": random.choice(HOSTS), "port": {"number": random.choice(PORTS)}}}]
        sni = [host for host in pick(HOSTS, 2) if "example" in host] or ["a.example.com"]
        spec = {
            "hosts": pick([*HOSTS, "*"], 2),
            "http": [{"route": route}],
            "tcp": [{"match": [{"destinationSubnets": pick(RANGES, 2)}], "route": route}, {"route": route}],
            "tls": [{"match": [{"sniHosts": sni, "destinationSubnets": pick(RANGES, 1)}], "route": route}],
        }
        return made("networking.istio.io/v1", "VirtualService", f"v{number}", "shop", spec)

    def way_out(port: int, bind: str) -> dict[str, Any]:
        protocol = random.choice(["HTTP", "TCP", "TLS", "HTTP_PROXY"])
        mode = random.choice(["NONE", "DEFAULT"])
        named = {"number": port, "protocol": protocol, "name": "p"}
        return {"port": named, "bind": bind, "captureMode": mode, "hosts": ["*/*"]}

    def sidecar() -> dict[str, Any]:
        egress = [way_out(port, random.choice(BINDS)) for port in pick(PORTS, 3)]
        ingress = [
            {
                "port": {"number": port, "protocol": random.choice(PROTOCOLS), "name": "p"},
                "bind": random.choice(BINDS),
                "captureMode": random.choice(["NONE", "DEFAULT"]),
                "defaultEndpoint": random.choice(["127.0.0.1:1", "0.0.0.0:80", "unix:///s", ""]),
            }
            for port in pick(PORTS, 3)
        ]
        spec: dict[str, Any] = {"egress": [*egress, {"hosts": [random.choice(["*/*", "./*", "*/*.example.com"])]}]}
        return made("networking.istio.io/v1", "Sidecar", "own", "shop", spec | {"ingress": ingress})

    found = [service(number) for number in range(4)] + [entry(number) for number in range(3)]
    found += [virtual(number) for number in range(2)] + [pod("p0", "10.2.0.1"), pod("p1", "10.0.0.2")]
    return found + ([sidecar()] if random.random() < 0.7 else [])


def made(version: str, kind: str, name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def pod(name: str, ip: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}], "hostname": name, "subdomain": "s0"}
    status = {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {"name": name, "namespace": "shop", "labels": {"app": "pod"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def translated(seed: int) -> Resources:
    mode = list(Interception)[seed % 3]
    more = {"dns_capture": seed % 2 == 0, "http_proxy_port": 15080 if seed % 5 else 0}
    proxy = Proxy(ProxyKind.SIDECAR, "shop", (("app", "cart"),), interception=mode, **more)
    result = translate(snapshot(yaml.safe_dump_all(world(seed))), proxy)
    assert [found for found in result.diagnostics if found.code == "XDS1010"] == []
    return result.resources


def twice(values: list[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]


@pytest.mark.parametrize("seed", range(300))
def test_nothing_in_a_listener_or_a_route_table_is_there_twice(seed: int) -> None:
    resources = translated(seed)
    for resource in resources.by_type[LISTENER].values():
        chains = as_dict(resource).get("filterChains", [])
        assert twice([str(chain.get("filterChainMatch")) for chain in chains]) == []
    for resource in resources.by_type[ROUTE].values():
        hosts = as_dict(resource).get("virtualHosts", [])
        assert twice([domain for host in hosts for domain in host["domains"]]) == []
        assert twice([host["name"] for host in hosts]) == []


@pytest.mark.parametrize("seed", range(0, 300, 15))
def test_envoy_takes_it(seed: int) -> None:
    validate(static_bootstrap(translated(seed)))
