"""The synthetic Envoy asks in the order of the real one: both against the same session."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf.any_pb2 import Any as Packed

from tests.e2e.harness import eventually
from tests.protocol.client import World
from tests.protocol.test_loadtest import control_plane, plan, running
from tests.unit.loadtest.test_envoy import ADS, SESSIONS, assignment, cluster, words
from xds_server.bootstrap import Admin, Channel, Node, bootstrap
from xds_server.demo.ports import free_port
from xds_server.demo.processes import child, find_envoy
from xds_server.envoy.resource import LISTENER, ROUTE, Resource, sealed
from xds_server.loadtest.variants import DELTA, SOTW, Variant
from xds_server.xds.session import Session


def packed(message: Any) -> Packed:
    any_ = Packed()
    any_.Pack(message)
    return any_


def listener() -> Resource:
    router = {"name": "envoy.filters.http.router", "typed_config": packed(Router())}
    manager = HttpConnectionManager(
        stat_prefix="l", rds={"route_config_name": "r", "config_source": ADS}, http_filters=[router]
    )
    address = {"socket_address": {"address": "127.0.0.1", "port_value": free_port()}}
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": packed(manager)}]
    message = Listener(name="l", address=address, filter_chains=[{"filters": filters}])
    return sealed(LISTENER, "l", message, references=[(ROUTE, "r")])


def routes() -> Resource:
    hosts = [{"name": "h", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "a"}}]}]
    return sealed(ROUTE, "r", RouteConfiguration(name="r", virtual_hosts=hosts))


class Recorder:
    """A session on the network. log: what each client says, in its order."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant
        names = cluster("a"), cluster("b", "b-service"), assignment("a"), assignment("b-service")
        self._world = World(*names, listener(), routes())
        self.log: list[str] = []

    async def serve(self, requests: Any, context: Any) -> None:
        session = Session(SESSIONS[self._variant], self._world.shared, "server", self._world.published)
        while isinstance(raw := await context.read(), bytes):
            request = self._variant.request.FromString(raw)
            meaning = session.receive(raw, 0.0).meaning
            self.log.append(" ".join((request.type_url.rpartition(".")[2], *words(request, meaning))))
            while response := session.next(0.0):
                await context.write(response.data)


@contextlib.asynccontextmanager
async def real(variant: Variant, port: int) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory(prefix="xds-order-") as directory:
        config = bootstrap(Node("real"), Channel(port=port), Admin(socket=f"{directory}/admin.sock"))
        config["dynamic_resources"]["ads_config"]["api_type"] = "GRPC" if variant is SOTW else "DELTA_GRPC"
        file = Path(directory, "envoy.json")
        file.write_text(json.dumps(config), encoding="utf-8")  # noqa: ASYNC240
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
        async with child([find_envoy(), "-c", file, *options], Path(directory, "envoy.log")) as envoy:
            yield
            envoy.check()


@contextlib.asynccontextmanager
async def synthetic(variant: Variant, port: int) -> AsyncIterator[None]:
    async with running(plan(port, variant, streams=1, duration=60.0)):
        yield


@pytest.mark.parametrize("variant", [DELTA, SOTW], ids=lambda variant: variant.name)
async def test_both_ask_and_accept_the_same_in_the_same_order(variant: Variant) -> None:
    logs = []
    for client in (real, synthetic):
        recorder = Recorder(variant)
        async with control_plane(recorder.serve) as port, client(variant, port):
            await eventually(lambda: sum(" ACK" in entry for entry in recorder.log) >= 4)  # noqa: B023
        logs.append(recorder.log)
    assert logs[0] == logs[1]
