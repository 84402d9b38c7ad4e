"""Thousands of routes that keep changing: what the server uses, and how long a change takes.

    python -m benchmarks.route_load [--namespaces 50] [--apps 100] [--seconds 60]

As in howardjohn/gateway-api-bench: each namespace has so many apps of one endpoint, each with a route of its own;
every 2 s the endpoint of an app moves, and every second a route changes. Here every app is served, by one of two real
upstreams, so that each change is watched until the Envoy does it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec

from benchmarks import report, usage
from benchmarks.apps import App, apps
from benchmarks.asking import POLL, Answer, Asker
from benchmarks.report import Figure, Rule
from benchmarks.site import FileEnvoy, Site, file_envoy, served, site, translated

FLOORS = (
    "until in effect: an Envoy that reads the same route table from a file; "
    "memory: the bytes of the YAML and of the resources that it becomes"
)
CONFIG_SECONDS, WORKLOAD_SECONDS = 1.0, 2.0
LAST_SECONDS = 30.0
FLOOR_CHANGES = 10


class Churn:
    """The apps, their changes, and ms until each took effect."""

    def __init__(self, place: Site, world: list[App], ports: tuple[int, int]) -> None:
        self._place, self._ports = place, ports
        self._world = {app.key: app for app in world}
        self._random = random.Random(0)  # the same changes in every run
        self._watching: dict[str, asyncio.Task[None]] = {}
        self.config: list[float] = []
        self.workload: list[float] = []
        self.bad: list[int] = []

    def write(self, app: App) -> None:
        self._place.lab.write(f"{app.key}.service.yaml", app.service())
        self._place.lab.write(f"{app.key}.route.yaml", app.route())

    def change_config(self) -> None:
        app = self._chosen()
        app = msgspec.structs.replace(app, generation=app.generation + 1)
        self._place.lab.write(f"{app.key}.route.yaml", app.route())
        generation = str(app.generation)
        self._watch(app, self.config, _has(generation))

    def change_workload(self) -> None:
        app = self._chosen()
        app = msgspec.structs.replace(app, port=sum(self._ports) - app.port)
        self._place.lab.write(f"{app.key}.service.yaml", app.service())
        version = "v1" if app.port == self._ports[0] else "v2"
        self._watch(app, self.workload, lambda answer: json.loads(answer.body)["version"] == version)

    def _chosen(self) -> App:
        """Any app that is not changing."""
        return self._random.choice([app for key, app in self._world.items() if key not in self._watching])

    def _watch(self, app: App, times: list[float], is_done: Callable[[Answer], bool]) -> None:
        self._world[app.key] = app
        self._watching[app.key] = asyncio.create_task(self._until(app, times, is_done))

    async def _until(self, app: App, times: list[float], is_done: Callable[[Answer], bool]) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        async with Asker(self._place.port) as asker:
            while clock() - began < LAST_SECONDS:
                answer = await asker.ask(app.host)
                if answer.status != 200:
                    self.bad.append(answer.status)
                elif is_done(answer):
                    times.append(1000 * (clock() - began))
                    break
                await asyncio.sleep(POLL)
        del self._watching[app.key]

    async def run(self, seconds: float, config: float, workload: float) -> int:
        """Changes something every so many seconds. Returns the number of changes that had no effect in the end."""

        async def every(pause: float, change: Callable[[], None]) -> int:
            count = round(seconds / pause)
            for _ in range(count):
                change()
                await asyncio.sleep(pause)
            return count

        made = await asyncio.gather(every(config, self.change_config), every(workload, self.change_workload))
        await asyncio.gather(*self._watching.values())
        return sum(made) - len(self.config) - len(self.workload)


def _has(generation: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.headers.get("x-generation") == generation


async def by_file(floor: FileEnvoy, world: list[App], changes: int) -> list[float]:
    """ms until a change of the table in the file took effect."""
    clock = asyncio.get_running_loop().time
    hosts = {domain: found for found in floor.routes.virtual_hosts for domain in found.domains}
    times = []
    async with Asker(floor.port) as asker:
        for number, app in enumerate(random.Random(0).sample(world, changes), 1):
            [header] = hosts[app.host].routes[0].response_headers_to_add
            header.header.value = f"file-{number}"
            floor.write(floor.routes)
            began = clock()
            await asker.until(app.host, _has(header.header.value))
            times.append(1000 * (clock() - began))
    return times


async def found(options: argparse.Namespace) -> AsyncIterator[Figure | Rule]:
    clock = asyncio.get_running_loop().time
    async with site() as place:
        first, second = [(await place.lab.upstream("backend", version)).port for version in ("v1", "v2")]
        world = apps(options.namespaces, options.apps, port=first)
        churn = Churn(place, world, (first, second))
        for app in world:
            churn.write(app)
        size = sum(file.stat().st_size for file in place.lab.config.iterdir()) / 2**20
        began = clock()
        await place.start()
        await served(place.port, world[-1].host)
        cold = clock() - began
        cold_cpu = usage.cpu(place.pid)
        await usage.settled(place.pid)
        async with usage.sampled(place.pid) as used, usage.sampled(place.envoy_pid) as envoy:
            lost = await churn.run(options.seconds, options.config_seconds, options.workload_seconds)
        most = usage.memory(place.pid)
        resources = translated(place.lab.config)
        size += sum(len(one.body) for rows in resources.by_type.values() for one in rows.values()) / 2**20
        async with file_envoy(place.lab.config) as floor:
            floors = await by_file(floor, world, min(FLOOR_CHANGES, len(world)))
    changed = len(churn.config), len(churn.workload)
    yield Figure(f"{len(world):,} routes, from nothing to served", cold, "s")
    yield Figure(f"{len(world):,} routes, the server for all", cold_cpu, "s CPU")
    for words, times in (("a route", churn.config), ("an endpoint", churn.workload)):
        for name, what in (("mean", statistics.mean), ("max", max)):
            yield Figure(f"{words} changed, until in effect, {name}", what(times or [0]), "ms", what(floors))
    for name, what in (("mean", statistics.mean), ("max", max)):
        yield Figure(f"the server while it changes, {name}", what(used.cores), "cores")
    yield Figure("the server's memory, mean", statistics.mean(used.memory), "MB", size)
    yield Figure("the server's memory, max", most, "MB", size)
    yield Figure("the Envoy's memory, max", max(envoy.memory), "MB")
    yield Rule("every change takes effect", not lost, f"{changed[0]} of routes, {changed[1]} of endpoints, {lost} lost")
    yield Rule("only 200", not churn.bad, str(churn.bad[:10]) if churn.bad else "")


def measure(options: argparse.Namespace) -> Iterator[Figure | Rule]:
    options.config_seconds, options.workload_seconds = CONFIG_SECONDS, WORKLOAD_SECONDS
    if options.quick:
        options.namespaces, options.apps, options.seconds = 2, 10, 2
        options.config_seconds, options.workload_seconds = 0.5, 1.0

    async def collected() -> list[Figure | Rule]:
        return [one async for one in found(options)]

    yield from asyncio.run(collected())


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--namespaces", type=int, default=50)
    parser.add_argument("--apps", type=int, default=100, help="in each namespace")
    parser.add_argument("--seconds", type=float, default=60.0, help="of changes")


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, FLOORS, measure, arguments))
