"""What one change costs, from a new snapshot to the bytes of a proxy group, beside the first translation of all.

    python -m benchmarks.translation [--services 100 1000 5000] [--json FILE]

CPU time of this process, the best of several changes. The last column compares the largest mesh with the smallest.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from xds_server.diagnostics import ObjectRef
from xds_server.kube.core import Service
from xds_server.kube.decode import decode
from xds_server.kube.discovery import EndpointSlice
from xds_server.kube.istio.gateway import Gateway
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.kube.meta import Object, Raw, Source
from xds_server.kube.snapshot import Snapshot, Table
from xds_server.memo import Generations
from xds_server.mesh.proxy import EVERY_GATEWAY, Interception, Proxy, ProxyKind
from xds_server.translate import translate
from xds_server.version import __version__

ENDPOINTS = 10
NAMESPACES = 20
CHANGES = 5
PROXIES = {
    "gateway": EVERY_GATEWAY,
    "sidecar": Proxy(ProxyKind.SIDECAR, "ns0", interception=Interception.NONE),
}

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


def routes(key: tuple[str, str], timeout: str = "1s") -> Object:
    rest = {"route": [{"destination": {"host": key[1]}}], "timeout": timeout}
    spec = {"hosts": [f"{key[1]}.example.com"], "gateways": ["ns0/edge"], "http": [rest]}
    return made("networking.istio.io/v1", "VirtualService", key, spec=spec)


def world(services: int) -> Objects:
    keys = [(f"ns{number % NAMESPACES}", f"svc{number}") for number in range(services)]
    server = {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    edge = ("ns0", "edge")
    return {
        Service: {
            key: made("v1", "Service", key, spec={
                "clusterIP": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
                "ports": [{"name": "http", "port": 80}],
            })
            for number, key in enumerate(keys)
        },
        EndpointSlice: {key: piece(key, number, ENDPOINTS) for number, key in enumerate(keys)},
        VirtualService: {key: routes(key) for key in keys},
        Gateway: {edge: made("networking.istio.io/v1", "Gateway", edge, spec={"servers": [server]})},
    }  # fmt: skip


def snapshot(objects: Objects) -> Snapshot:
    return Snapshot(by_type={kind: Table(sorted(items.items())) for kind, items in objects.items()})


def changed(base: Snapshot, kind: type[Object], key: tuple[str, str], new: Object) -> Snapshot:
    """The snapshot with one object replaced; all other tables stay as they are, as the store keeps them."""
    return Snapshot(by_type={**base.by_type, kind: Table({**base.of(kind), key: new})})


def cpu(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return (time.process_time() - began) * 1000


def measure(services: int, proxy: Proxy) -> dict[str, float]:
    memo = Generations()
    base = snapshot(world(services))
    gc.collect()
    gc.freeze()

    def run(of: Snapshot) -> float:
        spent = cpu(lambda: translate(of, proxy, memo))
        memo.turn()
        return spent

    key = ("ns1", "svc1")
    result = {"all": run(base)}
    result["one slice"] = min(run(changed(base, EndpointSlice, key, piece(key, 1, n + 2))) for n in range(CHANGES))
    result["one route"] = min(run(changed(base, VirtualService, key, routes(key, f"{n + 2}s"))) for n in range(CHANGES))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    sizes = sorted(options.services)
    figures: dict[str, dict[str, dict[int, float]]] = {}
    for name, proxy in PROXIES.items():
        for size in sizes:
            for what, spent in measure(size, proxy).items():
                figures.setdefault(name, {}).setdefault(what, {})[size] = spent
    print("ms of CPU       " + "".join(f"{size:>10}" for size in sizes) + "     ratio")
    for name, kinds in figures.items():
        for what, by_size in kinds.items():
            ratio = by_size[sizes[-1]] / by_size[sizes[0]]
            print(f"{name:8}{what:10}" + "".join(f"{by_size[size]:10.2f}" for size in sizes) + f"{ratio:10.1f}")
    if options.json:
        about = {"machine": platform.platform(), "python": platform.python_version(), "version": __version__}
        options.json.write_text(json.dumps({"about": about, "cpu_ms": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
