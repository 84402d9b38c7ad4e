"""One of four endpoints refuses connections, again and again: how many requests fail.

    python -m benchmarks.failover [--cycles 3] [--seconds 4]

As in howardjohn/gateway-api-bench: 256 routes lead to one service without retries, a client asks them by turns every
5 ms, and an endpoint is closed and opened. Once with outlier detection; once without, but as in a cluster whose
readiness probe takes the endpoint out of its slice a second later. With outlier detection each of the Envoy's two
workers may send it 5 requests before it is out, and again each time it is let in.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

from benchmarks import report
from benchmarks.asking import POLL, Asker
from benchmarks.report import Figure, Rule
from benchmarks.site import file_envoy, served, site
from tests.e2e.test_serve import service
from xds_server.demo.system import Workload
from xds_server.demo.upstreams import upstream

FLOORS = "an Envoy without a control plane, with the same outlier detection, at the same time"
HOST = "route.example.com"
ROUTES = 256
LIMIT = 5
"""Failures in a row until an endpoint is out, as in the original."""
EJECTION = 1.0
"""Seconds that it is out the first time; each further time is so much longer."""
PROBE_SECONDS = 1.0
"""How long a cluster takes to notice that a Pod is not ready."""

OUTLIERS = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: outlier, namespace: default}}
spec:
  host: backend
  trafficPolicy:
    outlierDetection:
      baseEjectionTime: {EJECTION:g}s
      interval: 1s
      consecutive5xxErrors: {LIMIT}
      consecutiveGatewayErrors: {LIMIT}
      consecutiveLocalOriginFailures: {LIMIT}
      maxEjectionPercent: 100
      splitExternalLocalOriginErrors: true
"""


def routes() -> str:
    rules = "".join(
        f"""
  - match: [{{uri: {{prefix: /{number}/}}}}]
    route: [{{destination: {{host: backend, port: {{number: 80}}}}}}]
    retries: {{attempts: 0}}"""
        for number in range(ROUTES)
    )
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: route, namespace: default}}
spec:
  hosts: [{HOST}]
  gateways: [edge]
  http:{rules}
"""


class Answers:
    """total: requests. failed: those that were not answered 200. worst: failures in a row."""

    def __init__(self) -> None:
        self.total = self.failed = 0

    async def ask(self, port: int) -> None:
        async with Asker(port) as asker:
            while True:
                answer = await asker.ask(HOST, f"/{self.total % ROUTES}/")
                self.total += 1
                self.failed += answer.status != 200
                await asyncio.sleep(POLL)


class Flapping:
    """The endpoint that comes and goes."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self.workload = Workload("backend", "v4", "127.0.0.1", 0)

    async def open(self) -> None:
        self.workload = await self._stack.enter_async_context(upstream(self.workload))

    async def close(self) -> None:
        await self._stack.aclose()


async def found(cycles: int, seconds: float) -> AsyncIterator[Figure | Rule]:
    async with site() as place:
        steady = [await place.lab.upstream("backend", f"v{number}") for number in (1, 2, 3)]
        flapping = Flapping()
        await flapping.open()
        place.lab.write("backend.yaml", service("backend", *steady, flapping.workload))
        place.lab.write("route.yaml", routes())
        place.lab.write("outlier.yaml", OUTLIERS)
        await place.start()
        await served(place.port, HOST, "/1/")

        async def cycle(ports: list[int], readiness: bool) -> list[Answers]:
            """Closes and opens the endpoint so many times, while each of the ports is asked."""
            answers = [Answers() for _ in ports]
            asking = [asyncio.create_task(one.ask(port)) for one, port in zip(answers, ports, strict=True)]
            for _ in range(cycles):
                await flapping.close()
                await asyncio.sleep(PROBE_SECONDS)
                if readiness:
                    place.lab.write("backend.yaml", service("backend", *steady))
                await asyncio.sleep(seconds - PROBE_SECONDS)
                await flapping.open()
                if readiness:
                    place.lab.write("backend.yaml", service("backend", *steady, flapping.workload))
                await asyncio.sleep(seconds)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            return answers

        async with file_envoy(place.lab.config) as floor:
            outlier, least = await cycle([place.port, floor.port], readiness=False)
        place.lab.delete("outlier.yaml")
        [ready] = await cycle([place.port], readiness=True)
        await flapping.close()
        yield Figure(
            "outlier detection: failed in each outage", outlier.failed / cycles, "requests", least.failed / cycles
        )
        yield Figure("readiness alone: failed in each outage", ready.failed / cycles, "requests")
        share = [100 * one.failed / one.total for one in (outlier, least, ready)]
        yield Figure("outlier detection: failed of all", share[0], "%", share[1])
        yield Figure("readiness alone: failed of all", share[2], "%")
        rounds = 2 + seconds / EJECTION
        most = 2 * LIMIT * rounds
        seen = f"{outlier.failed / cycles:.0f} of {outlier.total / cycles:.0f} requests"
        yield Rule(f"at most {most:.0f} fail in an outage of {seconds:g} s", outlier.failed <= cycles * most, seen)


def measure(options: argparse.Namespace) -> Iterator[Figure | Rule]:
    cycles, seconds = (1, 2.0) if options.quick else (options.cycles, options.seconds)

    async def collected() -> list[Figure | Rule]:
        return [one async for one in found(cycles, seconds)]

    yield from asyncio.run(collected())


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cycles", type=int, default=3, help="outages")
    parser.add_argument("--seconds", type=float, default=4.0, help="that each lasts, and the time between them")


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, FLOORS, measure, arguments))
