"""A route that changes all the time under load: no request may fail.

    python -m benchmarks.routechange [--iterations 50]

As in howardjohn/gateway-api-bench: every 200 ms the route goes to the other port of a service, and a response header
comes or goes, while clients ask without a pause. Every answer must be 200.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator

from benchmarks import report, usage
from benchmarks.asking import Asker
from benchmarks.report import Figure, Rule
from benchmarks.site import file_envoy, routes_of, served, site, translated

FLOORS = "an Envoy that reads the same route table from a file"
HOST = "route.example.com"
CLIENTS = 4
PAUSE = 0.2
"""Seconds between two changes."""
HEADER = "my-added-header"


def services(first: int, second: int) -> str:
    """One Service with two ports, and the slice that has the workloads' ports."""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: backend, namespace: default}}
spec:
  ports:
  - {{name: http, port: 80}}
  - {{name: http-alt, port: 8080}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: backend-1, namespace: default, labels: {{kubernetes.io/service-name: backend}}}}
addressType: IPv4
ports: [{{name: http, port: {first}}}, {{name: http-alt, port: {second}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
"""


def route(number: int) -> str:
    headers = f"headers: {{response: {{add: {{{HEADER}: added-value}}}}}}" if number % 2 == 0 else ""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: route, namespace: default}}
spec:
  hosts: [{HOST}]
  gateways: [edge]
  http:
  - route: [{{destination: {{host: backend, port: {{number: {80 if number % 2 == 0 else 8080}}}}}}}]
    {headers}
"""


BOTH = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: both, namespace: default}
spec:
  hosts: [both.example.com]
  gateways: [edge]
  http:
  - route:
    - {destination: {host: backend, port: {number: 80}}, weight: 50}
    - {destination: {host: backend, port: {number: 8080}}, weight: 50}
"""


class Seen:
    """What clients were answered. versions: with the time when each was first seen since it was last `expect`ed."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.mixed = 0
        self._changed: dict[str, asyncio.Future[float]] = {}

    def expect(self, version: str) -> asyncio.Future[float]:
        self._changed[version] = asyncio.get_running_loop().create_future()
        return self._changed[version]

    async def ask(self, port: int) -> None:
        clock = asyncio.get_running_loop().time
        async with Asker(port) as asker:
            while True:
                answer = await asker.ask(HOST)
                self.statuses[answer.status] += 1
                if answer.status == 200:
                    version = json.loads(answer.body)["version"]
                    self.mixed += (version == "v1") is not (HEADER in answer.headers)
                    if (change := self._changed.pop(version, None)) is not None:
                        change.set_result(clock())


@contextlib.asynccontextmanager
async def asked(port: int) -> AsyncIterator[Seen]:
    seen = Seen()
    tasks = [asyncio.create_task(seen.ask(port)) for _ in range(CLIENTS)]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def changes(port: int, iterations: int, write: Callable[[int], None]) -> tuple[Seen, list[float]]:
    """Changes the route so many times under load. Returns what was seen, and ms until each change took effect."""
    clock = asyncio.get_running_loop().time
    times = []
    async with asked(port) as seen:
        for number in range(1, 1 + iterations):
            changed = seen.expect("v1" if number % 2 == 0 else "v2")
            began = clock()
            write(number)
            await asyncio.sleep(PAUSE)
            if changed.done():
                times.append(1000 * (changed.result() - began))
    return seen, times


async def found(iterations: int) -> AsyncIterator[Figure | Rule]:
    async with site() as place:
        first, second = [await place.lab.upstream("backend", version) for version in ("v1", "v2")]
        place.lab.write("backend.yaml", services(first.port, second.port))
        place.lab.write("route.yaml", route(0))
        await place.start()
        await served(place.port, HOST)
        before = usage.cpu(place.pid)
        seen, times = await changes(place.port, iterations, lambda number: place.lab.write("route.yaml", route(number)))
        cpu = 1000 * (usage.cpu(place.pid) - before) / iterations
        place.lab.write("both.yaml", BOTH)  # a gateway gets the clusters that it needs, and the floor needs both always
        tables = []
        for number in range(2):
            place.lab.write("route.yaml", route(number))
            tables.append(routes_of(translated(place.lab.config)))
        async with file_envoy(place.lab.config) as floor:
            floor.write(tables[0])
            floors = (await changes(floor.port, iterations, lambda number: floor.write(tables[number % 2])))[1]
        for name, what in (("mean", statistics.mean), ("max", max)):
            yield Figure(f"a change in effect, {name}", what(times or [0.0]), "ms", what(floors or [0.0]))
        yield Figure("the server for each change", cpu, "ms CPU")
        yield Figure("changes seen before the next one", len(times), f"of {iterations}", len(floors))
        bad = {status: count for status, count in seen.statuses.items() if status != 200}
        total = f"{seen.statuses.total():,} requests"
        yield Rule("only 200", not bad, f"{total}, {bad}" if bad else total)
        yield Rule("backend and header change together", not seen.mixed, f"{seen.mixed} mixed" if seen.mixed else "")


def measure(options: argparse.Namespace) -> Iterator[Figure | Rule]:
    async def collected() -> list[Figure | Rule]:
        return [one async for one in found(10 if options.quick else options.iterations)]

    yield from asyncio.run(collected())


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--iterations", type=int, default=50, help="changes")


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, FLOORS, measure, arguments))
