"""How fast changes reach the proxies.

Beside this project's server, a bare server on the same gRPC library, with the same options, is measured in the same
minute and by turns: the floor, which only writes the same bytes to the same streams. The load runs on the same
machine, so wall times are upper bounds; CPU is that of the server's process alone, in which a push counts with its
acknowledgement.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from statistics import median

import msgspec

from benchmarks import report
from benchmarks.proxies import ASKED, Proxies
from benchmarks.report import Figure

CONNECT, CHANGE, ROUTES = "connect, 74 KB", "1 endpoint change", "200 KB of routes"
ON_NODE = 10
SPREAD_CONNECT, SPREAD_CHANGE = (f"{ON_NODE} on a node, {what}" for what in (CONNECT, CHANGE))
SUSTAINED, STALLED = "sustained", "200 KB of routes, 10 % stopped reading"


class Row(msgspec.Struct, frozen=True):
    """What was measured at once. Milliseconds from the change until the first proxy has it, half of them, 99 %, all;
    microseconds of CPU for each stream that reads; memory that the process gained, for each stream and in all."""

    server: str
    streams: int
    what: str
    first_ms: float
    p50_ms: float
    p99_ms: float
    last_ms: float
    cpu_us: float
    memory_kb: float | None = None
    grown_mb: float | None = None
    per_second: float | None = None


class Usage(msgspec.Struct, frozen=True):
    """cpu: seconds; memory: bytes."""

    cpu: float
    memory: int


class Server:
    """A measured process, and the proxies that are connected to it."""

    def __init__(self, kind: str, process: asyncio.subprocess.Process, proxies: Proxies) -> None:
        self.kind, self.proxies = kind, proxies
        self._process = process

    async def tell(self, command: str) -> Usage:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{command}\n".encode())
        return msgspec.json.decode(await self._process.stdout.readline(), type=Usage)

    async def quiet(self) -> Usage:
        """The usage once the last answers are read."""
        usage = await self.tell("usage")
        while True:
            await asyncio.sleep(0.02)
            again = await self.tell("usage")
            if again.cpu - usage.cpu < 0.001:
                return again
            usage = again


class Round(msgspec.Struct, frozen=True):
    """delays: seconds until each proxy had it. cpu: seconds of the server."""

    delays: list[float]
    cpu: float


@asynccontextmanager
async def serving(kind: str, streams: int, on_node: int) -> AsyncIterator[Server]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.servers", kind, stdin=pipe, stdout=pipe
    )
    assert process.stdout
    proxies = Proxies(int(await process.stdout.readline()), streams, on_node)
    try:
        yield Server(kind, process, proxies)
    finally:
        process.kill()
        await process.wait()
        proxies.close()


async def measure(streams: int, rounds: int, seconds: float) -> list[Row]:
    rows = []
    async with serving("floor", streams, streams) as floor, serving("xds", streams, streams) as xds:
        servers = (floor, xds)
        rows += [await _connect(server, CONNECT) for server in servers]
        rows += await _by_turns(servers, CHANGE, "endpoints", rounds)
        rows += await _by_turns(servers, ROUTES, "routes", rounds)
        rows += [await _sustained(server, seconds) for server in servers]
        for server in servers:
            server.proxies.stall(max(1, streams // 10))
        before = {server.kind: (await server.quiet()).memory for server in servers}
        for _ in range(rounds * 2):  # fills the buffers of the sockets
            for server in servers:
                await _push(server, "routes")
        for row in await _by_turns(servers, STALLED, "routes", rounds):
            after = {server.kind: (await server.quiet()).memory for server in servers}
            grown = max(0, after[row.server] - before[row.server]) / 2**20
            rows.append(msgspec.structs.replace(row, grown_mb=grown))
    async with serving("floor", streams, ON_NODE) as floor, serving("xds", streams, ON_NODE) as xds:
        rows += [await _connect(server, SPREAD_CONNECT) for server in (floor, xds)]
        rows += await _by_turns((floor, xds), SPREAD_CHANGE, "endpoints", rounds)
    return rows


async def _connect(server: Server, what: str) -> Row:
    """From nothing to all that there is."""
    before = await server.quiet()
    server.proxies.expect(server.proxies.count * len(ASKED))
    began = time.perf_counter()
    await server.proxies.connect()
    delays = [at - began for at in await server.proxies.all()]
    after = await server.quiet()
    memory = max(0, after.memory - before.memory) / server.proxies.count / 1024
    return msgspec.structs.replace(_row(server, what, [Round(delays, after.cpu - before.cpu)]), memory_kb=memory)


async def _by_turns(servers: tuple[Server, ...], what: str, command: str, rounds: int) -> list[Row]:
    """Every round waits for the one before."""
    done: dict[str, list[Round]] = {server.kind: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            done[server.kind].append(await _round(server, command))
    return [_row(server, what, done[server.kind]) for server in servers]


async def _round(server: Server, command: str) -> Round:
    before = await server.quiet()
    delays = await _push(server, command)
    return Round(delays, (await server.quiet()).cpu - before.cpu)


async def _push(server: Server, command: str) -> list[float]:
    server.proxies.expect(server.proxies.reading)
    began = time.perf_counter()
    await server.tell(command)
    return [at - began for at in await server.proxies.all()]


async def _sustained(server: Server, seconds: float) -> Row:
    """Changes of an endpoint as fast as all proxies take them."""
    before = await server.quiet()
    began = time.perf_counter()
    delays: list[list[float]] = []
    while time.perf_counter() - began < seconds:
        delays.append(await _push(server, "endpoints"))
    took = time.perf_counter() - began
    cpu = ((await server.quiet()).cpu - before.cpu) / len(delays)
    row = _row(server, SUSTAINED, [Round(of_round, cpu) for of_round in delays])
    return msgspec.structs.replace(row, per_second=len(delays) * server.proxies.count / took)


def _row(server: Server, what: str, rounds: list[Round]) -> Row:
    """The median of the rounds, because what else the machine does disturbs some of them."""

    def figure(part: float) -> float:
        return median(sorted(r.delays)[int(part * (len(r.delays) - 1))] for r in rounds) * 1e3

    return Row(
        server=server.kind,
        streams=server.proxies.count,
        what=what,
        first_ms=figure(0),
        p50_ms=figure(0.5),
        p99_ms=figure(0.99),
        last_ms=figure(1),
        cpu_us=median(r.cpu for r in rounds) / server.proxies.reading * 1e6,
    )


TARGETS: dict[tuple[int, str, str], tuple[str, float]] = {
    (1000, CHANGE, "cpu_us"): ("T1", 100),
    (1000, ROUTES, "cpu_us"): ("T2", 150),
    (1000, CHANGE, "last_ms"): ("T3", 50),
    (5000, CHANGE, "last_ms"): ("T3", 300),
    (1000, CHANGE, "first_ms"): ("T4", 5),
    (1000, CHANGE, "p99_ms"): ("T4", 60),
    (1000, CONNECT, "last_ms"): ("T5", 1000),
    (5000, CONNECT, "last_ms"): ("T5", 4000),
    (1000, CONNECT, "memory_kb"): ("T6", 60),
    (1000, SUSTAINED, "per_second"): ("T7", 15_000),
    (1000, STALLED, "grown_mb"): ("T12", 10),
}
"""Streams, what, and the field of the row -> the target."""

FIELDS = {
    "cpu_us": ("us of the server's CPU for each stream", "us"),
    "first_ms": ("at the first stream", "ms"),
    "p50_ms": ("at half of the streams", "ms"),
    "p99_ms": ("at 99 % of the streams", "ms"),
    "last_ms": ("at the last stream", "ms"),
    "memory_kb": ("memory for each stream", "KB"),
    "grown_mb": ("memory that the server gained", "MB"),
    "per_second": ("pushes a second", "/s"),
}
FLOORS = "a bare gRPC server that writes the same bytes to the same streams, and does not look at the answers"


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    rounds, seconds = (2, 0.1) if options.quick else (options.rounds, options.seconds)
    for streams in [10] if options.quick else options.streams:
        measured = asyncio.run(measure(streams, rounds, seconds))
        floors = {row.what: row for row in measured if row.server == "floor"}
        for row in measured:
            if row.server == "xds":
                yield from _figures(row, floors[row.what])


def _figures(row: Row, floor: Row) -> Iterator[Figure]:
    for field, (words, unit) in FIELDS.items():
        value = getattr(row, field)
        if value is not None:
            target, asked = TARGETS.get((row.streams, row.what, field), ("", None))
            what = f"{row.streams:,} streams, {row.what}: {words}"
            yield Figure(what, value, unit, getattr(floor, field), asked, target, field == "per_second")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--streams", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0, help="of sustained changes")


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, FLOORS, figures, arguments))
