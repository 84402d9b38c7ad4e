"""How fast changes reach the proxies.

    python -m benchmarks.delivery [--streams 100 1000 5000] [--json FILE]

Beside this project's server, a bare server on the same gRPC library is measured in the same run: the floor, which
only writes the same bytes to the same streams. Each stream has a connection of its own, as an Envoy has. The load
runs on the same machine, so wall times are upper bounds; CPU is that of the server's process alone, in which a push
counts with its acknowledgement.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc  # after the modules above, which set its experiments
import msgspec
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from benchmarks import report
from benchmarks.report import Figure
from benchmarks.servers import METHOD, SERVICE
from benchmarks.workload import CLUSTERS, name
from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE

ASKED = {CLUSTER: [], ENDPOINT: [name(i) for i in range(CLUSTERS)], LISTENER: [], ROUTE: ["routes"]}
OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.http2.lookahead_bytes", 4 * 2**20),
    ("grpc.http2.bdp_probe", 0),
]


class Row(msgspec.Struct, frozen=True):
    """One line of the result. Milliseconds, microseconds of CPU for each stream, kilobytes for each stream."""

    server: str
    streams: int
    what: str
    p50_ms: float
    p99_ms: float
    last_ms: float
    cpu_us: float
    memory_kb: float = 0.0
    per_second: float = 0.0


class Server:
    """The measured process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process, self.port = process, port

    async def tell(self, command: str) -> dict[str, float]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{command}\n".encode())
        usage: dict[str, float] = json.loads(await self._process.stdout.readline())
        return usage


@asynccontextmanager
async def server(kind: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.servers",
        kind,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        yield Server(process, int(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


class Proxies:
    """Streams that acknowledge everything. `arrived` holds the time of each response of the current round."""

    def __init__(self, port: int, count: int) -> None:
        self._port, self.count = port, count
        self._tasks: list[asyncio.Task[None]] = []
        self.arrived: list[float] = []
        self._expected = 0
        self._all = asyncio.Event()

    def expect(self, responses: int) -> None:
        self.arrived = []
        self._expected = responses
        self._all.clear()

    async def all(self) -> list[float]:
        await self._all.wait()
        return self.arrived

    def connect(self) -> None:
        self._tasks = [asyncio.create_task(self._proxy(i)) for i in range(self.count)]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _proxy(self, number: int) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self._port}", options=OPTIONS) as channel:
            call = channel.stream_stream(f"/{SERVICE}/{METHOD}")()
            node: Node | None = Node(id=f"router~10.0.0.1~proxy-{number}.default~x")
            for type_url, names in ASKED.items():
                request = DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names, node=node)
                node = None
                await call.write(request.SerializeToString())
            while isinstance(raw := await call.read(), bytes):
                self.arrived.append(time.perf_counter())
                if len(self.arrived) == self._expected:
                    self._all.set()
                await call.write(_acknowledgement(raw))


def _acknowledgement(raw: bytes) -> bytes:
    """Of a response that is not decoded as a whole: its type and nonce are behind the resources."""
    tail = DeltaDiscoveryResponse.FromString(raw) if len(raw) < 4096 else _tail(raw)
    return bytes(DeltaDiscoveryRequest(type_url=tail.type_url, response_nonce=tail.nonce).SerializeToString())


def _tail(raw: bytes) -> DeltaDiscoveryResponse:
    start = raw.rfind(b'"')
    while start > 0:  # field 4, type_url
        try:
            return DeltaDiscoveryResponse.FromString(raw[raw.rindex(b"\x22", 0, start + 1) :])
        except ValueError:
            start = raw.rindex(b"\x22", 0, start)
    return DeltaDiscoveryResponse.FromString(raw)


async def measure(kind: str, streams: int, rounds: int, seconds: float) -> list[Row]:
    async with server(kind) as measured:
        before = await measured.tell("usage")
        proxies = Proxies(measured.port, streams)
        proxies.expect(streams * len(ASKED))
        began = time.perf_counter()
        proxies.connect()
        times = await proxies.all()
        after = await measured.tell("usage")
        rows = [_row(kind, streams, "connect, 74 KB", began, times, before, after, 1)]
        for what, command, count in (
            ("1 endpoint change", "endpoints", rounds),
            ("200 KB of routes", "routes", rounds),
        ):
            rows.append(await _fan_out(measured, proxies, kind, what, command, count))
        rows.append(await _sustained(measured, proxies, kind, seconds, rounds))
        await proxies.close()
        return rows


async def _fan_out(measured: Server, proxies: Proxies, kind: str, what: str, command: str, rounds: int) -> Row:
    """Every round waits for the one before; the result is of all rounds."""
    delays: list[float] = []
    lasts: list[float] = []
    before = await measured.tell("usage")
    for generation in range(1, rounds + 1):
        proxies.expect(proxies.count)
        began = time.perf_counter()
        await measured.tell(f"{command} {generation}")
        arrived = [at - began for at in await proxies.all()]
        delays += arrived
        lasts.append(max(arrived))
    after = await _quiet(measured)
    pushes = rounds * proxies.count
    return Row(
        kind,
        proxies.count,
        what,
        _percentile(delays, 0.5) * 1e3,
        _percentile(delays, 0.99) * 1e3,
        _percentile(lasts, 0.5) * 1e3,
        (after["cpu"] - before["cpu"]) / pushes * 1e6,
    )


async def _sustained(measured: Server, proxies: Proxies, kind: str, seconds: float, first: int) -> Row:
    """Changes of an endpoint as fast as all proxies take them."""
    before = await measured.tell("usage")
    began = time.perf_counter()
    generation = first
    while time.perf_counter() - began < seconds:
        generation += 1
        proxies.expect(proxies.count)
        await measured.tell(f"endpoints {generation}")
        await proxies.all()
    took = time.perf_counter() - began
    after = await _quiet(measured)
    pushes = (generation - first) * proxies.count
    cpu = (after["cpu"] - before["cpu"]) / pushes * 1e6
    return Row(kind, proxies.count, "sustained", 0, 0, 0, cpu, per_second=pushes / took)


async def _quiet(measured: Server) -> dict[str, float]:
    """The usage once the last answers are read."""
    usage = await measured.tell("usage")
    while True:
        await asyncio.sleep(0.05)
        again = await measured.tell("usage")
        if again["cpu"] - usage["cpu"] < 0.002:
            return again
        usage = again


def _row(
    kind: str, streams: int, what: str, began: float, times: list[float], before: Any, after: Any, rounds: int
) -> Row:
    delays = [at - began for at in times]
    return Row(
        kind,
        streams,
        what,
        _percentile(delays, 0.5) * 1e3,
        _percentile(delays, 0.99) * 1e3,
        max(delays) * 1e3,
        (after["cpu"] - before["cpu"]) / streams / rounds * 1e6,
        (after["memory"] - before["memory"]) / streams / 1024,
    )


def _percentile(values: list[float], part: float) -> float:
    return sorted(values)[int(part * (len(values) - 1))]


TARGETS: dict[tuple[int, str, str], tuple[str, float]] = {
    (1000, "1 endpoint change", "cpu_us"): ("T1", 100),
    (1000, "200 KB of routes", "cpu_us"): ("T2", 150),
    (1000, "1 endpoint change", "last_ms"): ("T3", 50),
    (5000, "1 endpoint change", "last_ms"): ("T3", 300),
    (1000, "1 endpoint change", "p99_ms"): ("T4", 60),
    (1000, "connect, 74 KB", "last_ms"): ("T5", 1000),
    (5000, "connect, 74 KB", "last_ms"): ("T5", 4000),
    (1000, "connect, 74 KB", "memory_kb"): ("T6", 60),
    (1000, "sustained", "per_second"): ("T7", 15_000),
}
"""Streams, what, and the field of the row -> the target."""

FIELDS = {
    "cpu_us": ("us of the server's CPU for each stream", "us"),
    "p50_ms": ("at half of the streams", "ms"),
    "p99_ms": ("at 99 % of the streams", "ms"),
    "last_ms": ("at the last stream", "ms"),
    "memory_kb": ("memory for each stream", "KB"),
    "per_second": ("pushes a second", "/s"),
}
FLOORS = "a bare gRPC server that writes the same bytes to the same streams, and does not look at the answers"


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    rounds, seconds = (2, 0.1) if options.quick else (options.rounds, options.seconds)
    for streams in [5] if options.quick else options.streams:
        floors = {row.what: row for row in asyncio.run(measure("floor", streams, rounds, seconds))}
        for row in asyncio.run(measure("xds", streams, rounds, seconds)):
            for field, (words, unit) in FIELDS.items():
                if value := getattr(row, field):
                    target, asked = TARGETS.get((streams, row.what, field), ("", None))
                    what = f"{streams:,} streams, {row.what}: {words}"
                    floor = getattr(floors[row.what], field) or None
                    yield Figure(what, value, unit, floor, asked, target, field == "per_second")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--streams", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0, help="of sustained changes")


if __name__ == "__main__":
    raise SystemExit(report.main(__doc__, FLOORS, figures, arguments))
