"""How much a cluster costs: reading 10,000 EndpointSlices and 2,000 Services, a change, and kubectl's way to traffic.

    XDS_SERVER_TEST_KUBECONFIG=... python -m benchmarks.kubernetes [--services 2000] [--slices 10000] [--changes 100]

Needs a cluster for tests; everything is made in a namespace of its own. What reading takes at least is in `inputs`,
which needs no cluster.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.report import Figure
from benchmarks.slices import endpoint_slice, service
from benchmarks.usage import cpu, memory, settled
from tests.cluster import Cluster, kubeconfig
from tests.e2e.harness import Lab
from tests.e2e.test_kubernetes import Site
from tests.e2e.test_serve import routes
from xds_server.demo.client import fetch
from xds_server.demo.processes import child
from xds_server.sources.kubernetes import News, watch
from xds_server.sources.kubernetes_api import Access, Api
from xds_server.sources.kubernetes_resources import Scope
from xds_server.store import Batch, Changes, Store

PARALLEL = 16


class Writer:
    """Writes objects without kubectl, which would take minutes."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace

    async def write(self, path: str, body: dict[str, Any], method: str = "POST") -> None:
        name = f"/{body['metadata']['name']}" if method == "PUT" else ""
        client = self._api._client
        request = await client.param_serialize(
            method, path.format(self._namespace) + name, body=body, auth_settings=["BearerToken"]
        )
        answer = await client.call_api(*request[:4])
        text = await answer.read()
        assert answer.status in (200, 201), text

    async def write_all(self, objects: Iterator[tuple[str, dict[str, Any]]]) -> None:
        async def work() -> None:
            for path, body in objects:
                await self.write(path, body)

        await asyncio.gather(*(work() for _ in range(PARALLEL)))


FLOORS = "none"


async def sync(cluster: Cluster, services: int, slices: int, changes: int) -> AsyncIterator[Figure]:
    """The first reading, and changes of slices."""
    api = Api(cluster.access)
    await api.connect()
    writer = Writer(api, cluster.namespace)
    await writer.write_all(map(service, range(services)))
    await writer.write_all(endpoint_slice(number, services) for number in range(slices))
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            lab = Lab(Path(directory), stack)
            await lab.serve(*Site(lab, cluster).options, "--log-level", "info")
            pid = lab.server.child.process.pid
            follower = await stack.enter_async_context(child([*FOLLOWER, cluster.namespace], lab.directory / "log"))
            pids = {"source and store": follower.process.pid, "whole server": pid}
            for name, pid in pids.items():
                await settled(pid)
                words = f"{name}, {services:,} Services and {slices:,} slices"
                yield Figure(f"{words}: read", cpu(pid), "s CPU")
                yield Figure(f"{words}: memory, max", memory(pid), "MB")
            before = {name: cpu(pid) for name, pid in pids.items()}
            for number in range(changes):
                await writer.write(*endpoint_slice(number, services, last=1), method="PUT")
                await asyncio.sleep(0.2)
            for name, pid in pids.items():
                await settled(pid)
                yield Figure(f"{name}, one changed slice", 1000 * (cpu(pid) - before[name]) / changes, "ms CPU")
    await api.close()


FOLLOWER = [sys.executable, "-m", "benchmarks.kubernetes", "--follow"]


async def follow(namespace: str) -> None:
    """A cluster into a store, and nothing else."""
    store = Store(["k"])

    async def tell(news: News) -> None:
        if isinstance(news, Batch):
            store.apply("k", news)
        elif isinstance(news, Changes):
            store.update("k", news)

    await watch(Access(str(kubeconfig())), Scope((namespace,)), tell)


async def traffic(cluster: Cluster, changes: int) -> AsyncIterator[Figure]:
    """From kubectl's answer to the first request that goes the new way."""
    with tempfile.TemporaryDirectory(prefix="xds-bench-") as directory:
        async with AsyncExitStack() as stack:
            lab = Lab(Path(directory), stack)
            site = Site(lab, cluster)
            await site.start()
            times = []
            for number in range(changes):
                await site.apply(routes(*((0, 100) if number % 2 == 0 else (100, 0))))
                start = time.perf_counter()
                wanted = f"v{2 - number % 2}"
                while (await fetch(site.target)).json()["version"] != wanted:
                    pass
                times.append(1000 * (time.perf_counter() - start))
            cuts = statistics.quantiles(times, n=100, method="inclusive")
            for percent in (50, 99):
                yield Figure(f"kubectl's answer to traffic, {percent} % of {changes} changes", cuts[percent - 1], "ms")


async def found(options: argparse.Namespace) -> AsyncIterator[Figure]:
    services, slices, changes = (20, 50, 4) if options.quick else (options.services, options.slices, options.changes)
    for measured in (
        lambda cluster: traffic(cluster, changes),
        lambda cluster: sync(cluster, services, slices, min(changes, 50)),
    ):
        cluster = Cluster(kubeconfig())
        await cluster.install()
        await cluster.kubectl("create", "namespace", cluster.namespace)
        try:
            async for figure in measured(cluster):
                yield figure
        finally:
            kinds = "services,endpointslices,pods,virtualservices,gateways.networking.istio.io,destinationrules"
            await cluster.kubectl("delete", kinds, "--all", "-n", cluster.namespace, "--wait=false")
            await cluster.kubectl("delete", "namespace", cluster.namespace, "--wait=false")


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    async def collected() -> list[Figure]:
        return [figure async for figure in found(options)]

    yield from asyncio.run(collected())


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--services", type=int, default=2000)
    parser.add_argument("--slices", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=100)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--follow"]:
        asyncio.run(follow(sys.argv[2]))
    raise SystemExit(report.main(__doc__, FLOORS, measure, arguments))
