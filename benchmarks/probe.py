"""A new route among thousands: how long until it is served, and what is answered before.

    python -m benchmarks.probe [--routes 3000] [--samples 50]

As in howardjohn/gateway-api-bench: one object with two rules is added, of which one leads to a backend that does not
exist; a client asks every 5 ms until the answer is 200. Only 404 may come before, and only 200 after. Every object is
a file of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import AsyncIterator, Iterator
from typing import Any

from envoy.config.route.v3.route_pb2 import RouteConfiguration

from benchmarks import report, usage
from benchmarks.asking import Asker
from benchmarks.report import Figure, Rule
from benchmarks.site import Site, encoded, file_envoy, served, site
from tests.e2e.test_serve import service

FLOORS = "an Envoy that reads the same route table from a file, which is written whole at once"


def host(number: int) -> str:
    return f"{number}-route.example.com"


def route(number: int) -> str:
    rules = "".join(
        f"""
  - match: [{{uri: {{prefix: {prefix}}}}}]
    route: [{{destination: {{host: {backend}, port: {{number: 80}}}}}}]
    headers: {{request: {{add: {{added-header: added-value}}}}, response: {{add: {{added-resp-header: value}}}}}}"""
        for prefix, backend in ((f"/{number}", "backend"), ("/", "invalid-backend"))
    )
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: route-{number}, namespace: default}}
spec:
  hosts: [{host(number)}]
  gateways: [edge]
  http:{rules}
"""


class Samples:
    """Milliseconds until each route was served; the statuses that must not be; ms of the server's CPU for each."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.odd: list[int] = []
        self.cpu = 0.0

    async def take(self, asker: Asker, number: int) -> None:
        took, odd = await asker.until_served(host(number), f"/{number}")
        self.times.append(1000 * took)
        self.odd += odd


async def added(place: Site, numbers: range) -> Samples:
    """Adds these routes, each when the one before is served."""
    samples = Samples()
    await usage.settled(place.pid)
    before = usage.cpu(place.pid)
    async with Asker(place.port) as asker:
        for number in numbers:
            place.lab.write(f"route-{number}.yaml", route(number))
            await samples.take(asker, number)
    samples.cpu = 1000 * (usage.cpu(place.pid) - before) / len(numbers)
    return samples


async def by_file(place: Site, numbers: range) -> Samples:
    """The same to an Envoy that reads a file: the last of these virtual hosts come one after the other."""
    samples = Samples()
    async with file_envoy(place.lab.config) as floor, Asker(floor.port) as asker:
        hosts = {domain: found for found in floor.routes.virtual_hosts for domain in found.domains}
        missing = [hosts[host(number)] for number in numbers]
        others = [found for found in floor.routes.virtual_hosts if found not in missing]
        floor.write(_table(floor.routes, others))
        for at, number in enumerate(numbers):
            content = encoded(_table(floor.routes, [*others, *missing[: at + 1]]))
            floor.put(content)
            await samples.take(asker, number)
    return samples


def _table(whole: RouteConfiguration, hosts: list[Any]) -> RouteConfiguration:
    table = RouteConfiguration()
    table.CopyFrom(whole)
    del table.virtual_hosts[:]
    table.virtual_hosts.extend(hosts)
    return table


async def found(routes: int, samples: int) -> AsyncIterator[Figure | Rule]:
    async with site() as place:
        backend = await place.lab.upstream("backend", "v1")
        place.lab.write("backend.yaml", service("backend", backend))
        place.lab.write("route-0.yaml", route(0))
        await place.start()
        await served(place.port, host(0), "/0")
        last = range(routes - samples, routes)
        first = await added(place, range(1, 1 + samples))
        for number in range(1 + samples, last.start):
            place.lab.write(f"route-{number}.yaml", route(number))
        await served(place.port, host(last.start - 1), f"/{last.start - 1}")
        many = await added(place, last)
        floors = await by_file(place, last)
        for words, one, floor in ((f"the first {samples}", first, None), (f"the last of {routes:,}", many, floors)):
            for name, what in (("mean", statistics.mean), ("max", max)):
                least = what(floor.times) if floor else None
                yield Figure(f"{words} routes, until served, {name}", what(one.times), "ms", least)
            yield Figure(f"{words} routes, the server for each", one.cpu, "ms CPU")
        odd = first.odd + many.odd
        yield Rule("only 404, then only 200", not odd, f"{2 * samples} routes" if not odd else f"statuses {odd[:10]}")


def measure(options: argparse.Namespace) -> Iterator[Figure | Rule]:
    routes, samples = (30, 3) if options.quick else (options.routes, options.samples)

    async def collected() -> list[Figure | Rule]:
        return [one async for one in found(routes, samples)]

    yield from asyncio.run(collected())


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--routes", type=int, default=3000)
    parser.add_argument("--samples", type=int, default=50, help="routes that are timed at either end")


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, FLOORS, measure, arguments))
