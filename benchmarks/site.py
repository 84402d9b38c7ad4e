"""What the public comparisons share: this server on a directory and a real Envoy that it configures; beside it, as the
floor, another Envoy that reads the same routes from a file, with no control plane at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse

from benchmarks.asking import Asker
from tests.e2e.harness import Lab, eventually
from tests.e2e.test_serve import EDGE, gateway
from tests.envoy_config import message, static_bootstrap
from xds_server.demo.ports import free_port
from xds_server.demo.processes import child, find_envoy
from xds_server.envoy.resource import ROUTE, Resources
from xds_server.memo import no_memo
from xds_server.mesh.proxy import EVERY_GATEWAY
from xds_server.sources import directory
from xds_server.store import snapshot_of
from xds_server.translate import translate

GATEWAY = "gateway.yaml"


class Site:
    """A lab, and the port where its Envoy listens."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.port = free_port()

    async def start(self) -> None:
        """Starts the server on what was written so far, and the Envoy."""
        self.lab.write(GATEWAY, gateway(self.port))
        await self.lab.serve()
        self._envoy = await self.lab.envoy(EDGE)

    @property
    def pid(self) -> int:
        """Of the server."""
        return self.lab.server.child.process.pid

    @property
    def envoy_pid(self) -> int:
        return self._envoy.process.pid


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    with tempfile.TemporaryDirectory(prefix="xds-bench-") as place:  # the path of a unix socket is short
        async with AsyncExitStack() as stack:
            yield Site(Lab(Path(place), stack))


class FileEnvoy:
    """An Envoy that has everything from its bootstrap, and its routes from a file."""

    def __init__(self, place: Path, routes: RouteConfiguration) -> None:
        self.port = free_port()
        self.routes = routes
        self._file, self._draft = place / "routes.pb", place / "draft.pb"

    def write(self, routes: RouteConfiguration) -> None:
        """Replaces the routes as Envoy wants it: the new file is moved over the old one."""
        self.put(encoded(routes))

    def put(self, response: bytes) -> None:
        self._draft.write_bytes(response)
        self._draft.replace(self._file)

    def bootstrap(self, resources: Resources) -> Any:
        found = static_bootstrap(resources)
        for listener in found["staticResources"]["listeners"]:
            listener["address"]["socketAddress"]["portValue"] = self.port
            listener.pop("additionalAddresses", None)
        return {"node": {"id": "floor", "cluster": "floor"}, **_routes_from(found, str(self._file))}


@asynccontextmanager
async def file_envoy(config: Path) -> AsyncIterator[FileEnvoy]:
    """Has what a gateway gets from the YAML of the directory."""
    resources = translated(config)
    with tempfile.TemporaryDirectory(prefix="xds-bench-") as place:
        floor = FileEnvoy(Path(place), routes_of(resources))
        floor.write(floor.routes)
        bootstrap = Path(place) / "envoy.json"
        bootstrap.write_text(json.dumps(floor.bootstrap(resources)))
        command: list[str | Path] = [
            find_envoy(),
            "-c",
            bootstrap,
            "--concurrency",
            "2",
            "--disable-hot-restart",
            "--log-level",
            "warn",
        ]
        async with child(command, Path(place) / "envoy.log") as running:

            async def listens() -> bool:
                running.check()
                return await is_open(floor.port)

            await eventually(listens)
            yield floor


def translated(config: Path) -> Resources:
    """What a gateway gets from the YAML of a directory."""
    return translate(snapshot_of(directory.read(str(config))), EVERY_GATEWAY, no_memo).resources


def routes_of(resources: Resources) -> RouteConfiguration:
    """The only route table."""
    [table] = resources.by_type[ROUTE].values()
    return message(table)


def encoded(routes: RouteConfiguration) -> bytes:
    """The content of a file of routes."""
    response = DiscoveryResponse(version_info="1", type_url=ROUTE)
    response.resources.add().Pack(routes)
    return bytes(response.SerializeToString())


def _routes_from(value: Any, file: str) -> Any:
    """The configuration with its route tables replaced by references to the file."""
    if isinstance(value, list):
        return [_routes_from(item, file) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _routes_from(item, file) for key, item in value.items() if key != "routeConfig"}
    if "routeConfig" in value:
        source = {"pathConfigSource": {"path": file}, "resourceApiVersion": "V3"}
        found["rds"] = {"routeConfigName": value["routeConfig"]["name"], "configSource": source}
    return found


async def is_open(port: int) -> bool:
    async with Asker(port) as asker:
        return (await asker.ask("nobody")).status != 0


async def served(port: int, host: str, path: str = "/") -> None:
    """Waits until the answer is 200."""
    async with Asker(port) as asker:

        async def answered() -> bool:
            return (await asker.ask(host, path)).status == 200

        await eventually(answered, f"{host}{path}", seconds=120)
