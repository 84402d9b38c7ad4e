"""The two servers that are measured, as a process: `python -m benchmarks.servers xds|floor`.

It prints its port, then obeys a line at a time on stdin, and answers each with a line of JSON that holds the CPU
seconds that the process has used and its resident memory.

    endpoints    publish a new assignment
    routes       publish another route table of 200 KB
    usage        nothing
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.workload import assignment, configuration, name, routes

from xds_server.xds.server import Options, XdsServer, channel_options  # isort: skip  (before grpc is imported)

import grpc
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from xds_server import process
from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, Resources, keyed
from xds_server.fleet import Fleet
from xds_server.incremental import edited, fixed
from xds_server.kube.discovery import EndpointSlice
from xds_server.kube.snapshot import Snapshot
from xds_server.latest import Latest
from xds_server.memo import Memo
from xds_server.mesh.proxy import Proxy
from xds_server.translate import Translation
from xds_server.xds.wire import delta_response

METHOD = "DeltaAggregatedResources"
SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
ROUTES = tuple(routes(1100, generation) for generation in range(1, 9))  # of 200 KB
OPTIONS = Options(port=0, streams_per_second=0)


class Real:
    """This project's server, with resources that are made beforehand."""

    async def start(self) -> int:
        self.resources = keyed(configuration())
        self.changes = Latest(Snapshot(number=1))
        fleet = Fleet(self.changes, self._translate)
        self.following = asyncio.create_task(fleet.run())
        return await XdsServer(fleet, OPTIONS).start()

    def _translate(self, snapshot: Snapshot, proxy: Proxy, memo: Memo) -> Translation:
        return Translation(self.resources, ())

    def publish(self, changed: Resource) -> None:
        rows = edited(self.resources.by_type[changed.type_url], {changed.name: changed})
        self.resources = Resources({**self.resources.by_type, changed.type_url: rows})
        # As a change of endpoints, which is never held back to be batched.
        by_type: dict[Any, Any] = {EndpointSlice: fixed({("default", "any"): object()})}
        self.changes.set(Snapshot(number=self.changes.value.number + 1, by_type=by_type))


class Floor:
    """A bare server on the same gRPC library: it writes the same bytes to the same streams, and reads the answers
    without looking at them."""

    async def start(self) -> int:
        by_type = keyed(configuration()).by_type
        self.first = {
            t: delta_response("1", "floor", t, "1", tuple(by_type[t].values()))
            for t in (CLUSTER, ENDPOINT, LISTENER, ROUTE)
        }
        self.nonce = 1
        self.calls: dict[Any, asyncio.Lock] = {}
        self.writing: set[asyncio.Task[None]] = set()
        self.server = grpc.aio.server(options=channel_options(OPTIONS))
        handlers = {METHOD: grpc.stream_stream_rpc_method_handler(self._serve)}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        return port

    async def _serve(self, _: Any, context: Any) -> None:
        self.calls[context] = asyncio.Lock()
        try:
            asked: set[str] = set()
            while isinstance(raw := await context.read(), bytes):
                if len(asked) < len(self.first):
                    type_url = DeltaDiscoveryRequest.FromString(raw).type_url
                    if type_url not in asked:
                        asked.add(type_url)
                        await context.write(self.first[type_url])
        finally:
            del self.calls[context]

    def publish(self, changed: Resource) -> None:
        self.nonce += 1
        message = delta_response(str(self.nonce), "floor", changed.type_url, "1", (changed,))
        for call, lock in self.calls.items():
            task = asyncio.create_task(self._write(call, lock, message))
            self.writing.add(task)
            task.add_done_callback(self.writing.discard)

    async def _write(self, call: Any, lock: asyncio.Lock, message: bytes) -> None:
        with contextlib.suppress(grpc.aio.InternalError, grpc.aio.UsageError):  # the client is gone
            async with lock:  # gRPC takes one message at a time
                await call.write(message)


def usage() -> str:
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return json.dumps({"cpu": time.process_time(), "memory": pages * 4096})


async def main(kind: str) -> None:
    process.prepare()
    server: Real | Floor = Real() if kind == "xds" else Floor()
    print(await server.start(), flush=True)
    process.settle()
    ports, tables = itertools.count(1001), itertools.cycle(ROUTES)
    commands: dict[str, Callable[[], None]] = {
        "endpoints": lambda: server.publish(assignment(name(0), next(ports))),
        "routes": lambda: server.publish(next(tables)),
        "usage": lambda: None,
    }
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode():
        commands[line.strip()]()
        print(usage(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
