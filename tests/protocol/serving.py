"""A real server on loopback with hand-made resources, and small gRPC clients for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from xds_server.xds.server import Options, XdsServer  # isort: skip  (sets the experiments before grpc is imported)

import grpc
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from xds_server.envoy.resource import EMPTY, Resource, Resources, keyed
from xds_server.fleet import Fleet
from xds_server.kube.snapshot import Snapshot
from xds_server.last_good import LastGood
from xds_server.latest import Latest
from xds_server.memo import Memo
from xds_server.mesh.proxy import Proxy
from xds_server.translate import Translation

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
SOTW_ADS, DELTA_ADS = ADS + "StreamAggregatedResources", ADS + "DeltaAggregatedResources"


class Serving:
    """A running server. `publish` gives all proxies new resources."""

    def __init__(self, options: Options, last_good: LastGood | None) -> None:
        self.resources: Resources = EMPTY
        self.changes = Latest(Snapshot())
        self.fleet = Fleet(self.changes, self._translate, last_good, patience=0.05)
        self.server = XdsServer(self.fleet, options)
        self.port = 0

    def publish(self, resources: Iterable[Resource]) -> None:
        self.resources = keyed(resources)
        self.changes.set(Snapshot(number=self.changes.value.number + 1))

    def channel(self, *options: tuple[str, Any]) -> grpc.aio.Channel:
        """A connection of its own."""
        own = ("grpc.use_local_subchannel_pool", 1)
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=[own, *options])

    def _translate(self, snapshot: Snapshot, proxy: Proxy, memo: Memo) -> Translation:
        return Translation(self.resources, ())


@asynccontextmanager
async def serving(
    resources: Iterable[Resource] | None = (), options: Options | None = None, last_good: LastGood | None = None
) -> AsyncIterator[Serving]:
    """resources: None leaves the sources unsynced."""
    server = Serving(options or Options(port=0), last_good)
    if resources is not None:
        server.publish(resources)
    server.port = await server.server.start()
    following = asyncio.create_task(server.fleet.run())
    try:
        yield server
    finally:
        await server.server.drain(0)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for a condition that other tasks bring about."""
    async with asyncio.timeout(seconds):
        pause = asyncio.Event()
        while not condition():
            asyncio.get_running_loop().call_later(0.005, pause.set)
            await pause.wait()
            pause.clear()


class DeltaCall:
    """A delta ADS stream. Responses are acknowledged as they are read."""

    def __init__(
        self, channel: grpc.aio.Channel, method: str = DELTA_ADS, node: str = "router~1.2.3.4~gw.ns~x"
    ) -> None:
        self.call = channel.stream_stream(method)()
        self._node: Node | None = Node(id=node) if node else None

    async def ask(self, type_url: str, add: Iterable[str] = (), **fields: Any) -> None:
        message = DeltaDiscoveryRequest(
            type_url=type_url, resource_names_subscribe=list(add), node=self._node, **fields
        )
        self._node = None
        await self.call.write(message.SerializeToString())

    async def read(self) -> DeltaDiscoveryResponse:
        raw = await self.call.read()
        assert isinstance(raw, bytes), "the server closed the stream"
        got = DeltaDiscoveryResponse.FromString(raw)
        await self.ask(got.type_url, response_nonce=got.nonce)
        return got
