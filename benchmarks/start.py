"""A cold start on thousands of services, and a change of many at once: how long, and how late the event loop is.

    python -m benchmarks.start [--namespaces 50] [--apps 100]

An event loop that is late answers nobody: no acknowledgement, no probe, no ping. Each app is a Service, a slice and a
route, in two files. The change moves the endpoints of every fifth app.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import report, usage
from benchmarks.apps import App, apps
from benchmarks.asking import Asker
from benchmarks.report import Figure
from benchmarks.site import served
from tests.e2e.harness import Lab, eventually
from tests.e2e.test_serve import EDGE, gateway
from xds_server.demo.ports import free_port
from xds_server.demo.processes import Server, child

FLOORS = "of a lag, that of the same server with nothing to do; of memory, the bytes of the YAML"
IDLE_SECONDS = 3.0
LOOKING = 0.2
"""Of a core: looking every millisecond is work as well."""
EVERY = 5
"""One in so many apps changes."""


class Watched:
    """The server, in a process that looks how late its loop is."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.pid = server.child.process.pid

    async def lag(self) -> dict[str, Any]:
        """Of the time since it was last asked."""
        known = len(self._server.events)
        self._server.child.process.send_signal(signal.SIGUSR1)

        def told() -> dict[str, Any] | None:
            return next((event for event in self._server.events[known:] if event.get("event") == "lag"), None)

        found: dict[str, Any] = await eventually(told)
        return found


async def found(world: list[App]) -> AsyncIterator[Figure]:
    clock = asyncio.get_running_loop().time
    with tempfile.TemporaryDirectory(prefix="xds-bench-") as place:
        async with AsyncExitStack() as stack:
            lab = Lab(Path(place), stack)
            ports = [(await lab.upstream("backend", version)).port for version in ("v1", "v2")]
            world = [msgspec.structs.replace(app, port=ports[0]) for app in world]
            port = free_port()
            lab.write("gateway.yaml", gateway(port))
            for app in world:
                lab.write(f"{app.key}.service.yaml", app.service())
                lab.write(f"{app.key}.route.yaml", app.route())
            size = sum(file.stat().st_size for file in lab.config.iterdir()) / 2**20
            server = Server()
            began = clock()
            command: list[str | Path] = [sys.executable, "-m", "benchmarks.watched", lab.config, str(lab.xds_port)]
            server.child = await stack.enter_async_context(child(command, lab.directory / "server.log", server.on_line))
            await lab.envoy(EDGE)
            await served(port, world[-1].host)
            cold = clock() - began
            watched = Watched(server)
            await usage.settled(watched.pid, idle=LOOKING)
            cpu, start = usage.cpu(watched.pid), await watched.lag()
            await asyncio.sleep(IDLE_SECONDS)
            idle = await watched.lag()
            changed = [msgspec.structs.replace(app, port=ports[1]) for app in world[::EVERY]]
            began = clock()
            for app in changed:
                lab.write(f"{app.key}.service.yaml", app.service())
            async with Asker(port) as asker:
                for app in changed:
                    await asker.until(app.host, lambda answer: b'"v2"' in answer.body)
            effect = clock() - began
            await usage.settled(watched.pid, idle=LOOKING)
            change = await watched.lag()
            memory = usage.memory(watched.pid)
    words = f"start with {len(world):,} services, {3 * len(world):,} documents"
    yield Figure(f"{words}, until all are served", cold, "s")
    yield Figure(f"{words}, the server for all", cpu, "s CPU")
    for what, lag in ((words, start), (f"{len(changed):,} endpoints moved at once", change)):
        yield Figure(f"{what}, the loop late by at most", lag["max"], "ms", idle["max"])
        yield Figure(f"{what}, the loop late for, in all", lag["late"], "ms", idle["late"] or None)
    yield Figure(f"{len(changed):,} endpoints moved at once, until all are in effect", effect, "s")
    yield Figure("memory, max", memory, "MB", size)


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    async def collected() -> list[Figure]:
        world = apps(2, 10) if options.quick else apps(options.namespaces, options.apps)
        return [one async for one in found(world)]

    yield from asyncio.run(collected())


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--namespaces", type=int, default=50)
    parser.add_argument("--apps", type=int, default=100, help="in each namespace")


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, FLOORS, measure, arguments))
