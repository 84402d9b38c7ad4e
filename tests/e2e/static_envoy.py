"""A view in an Envoy of its own, without a server: what is said in the view is all there is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.harness import Lab, eventually
from tests.envoy_config import static_bootstrap
from tests.objects import named
from tests.unit.envoy.full import MORE, ORIGIN
from xds_server.demo.client import Reply, Target, fetch
from xds_server.demo.processes import child, find_envoy
from xds_server.demo.system import Workload
from xds_server.envoy.build import build
from xds_server.memo import no_memo
from xds_server.mesh.model import (
    Backend,
    BackendEndpoints,
    BackendPolicy,
    Chain,
    ChainMatch,
    Destination,
    Direction,
    Discovery,
    Endpoint,
    Forward,
    Http,
    Listener,
    Match,
    Protocol,
    Redirect,
    Respond,
    Rewrite,
    Route,
    RouteTable,
    ServerTLS,
    ServicePort,
    View,
    VirtualHost,
)

POLICY = BackendPolicy()
Key = TypeVar("Key")


@contextlib.asynccontextmanager
async def served(lab: Lab, view: View) -> AsyncIterator[None]:
    """An Envoy that has this view, once all its listeners take connections."""
    resources, bugs = build(named(view), no_memo)
    assert bugs == ()
    config = lab.directory / "static.json"
    config.write_text(json.dumps(static_bootstrap(resources)))
    command: list[str | Path] = [find_envoy(), "-c", config, "--concurrency", "1", "--disable-hot-restart"]
    async with child([*command, "-l", "warn"], lab.directory / "static.log") as envoy:

        async def listens() -> bool:
            envoy.check()
            for listener in view.listeners:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(listener.address, listener.port)
                    writer.close()
                    continue
                return False
            return True

        await eventually(listens)
        yield


def listening(port: int, *chains: Chain) -> Listener:
    return Listener(f"l{port}", "127.0.0.1", port, Direction.OUTBOUND, chains, MORE)


def http(port: int, tls: ServerTLS | None = None) -> Listener:
    return listening(port, Chain("http", ChainMatch(), Http("t", "http"), tls))


def table(*routes: Route) -> tuple[RouteTable, ...]:
    return (RouteTable("t", (VirtualHost("v", ("*",), routes),), MORE),)


def route(match: Match, action: Forward | Redirect | Respond, **more: Any) -> Route:
    return Route("r", match, action, ORIGIN, **more)


def to(name: str, rewrite: Rewrite | None = None) -> Forward:
    return Forward((Destination(name),), rewrite=rewrite)


def backend(name: str, policy: BackendPolicy = POLICY) -> Backend:
    return Backend(name, name, ServicePort(80, "http", Protocol.HTTP), policy, Discovery.ENDPOINTS, MORE)


def endpoints(name: str, port: int) -> BackendEndpoints:
    return BackendEndpoints(name, (Endpoint("127.0.0.1", port),), MORE)


def through(port: int, routes: tuple[RouteTable, ...], upstream: Workload) -> View:
    return View(
        listeners=(http(port),),
        route_tables=routes,
        backends=(backend("web"),),
        endpoints=(endpoints("web", upstream.port),),
    )


async def fetched(targets: dict[Key, Target]) -> dict[Key, Reply]:
    """The replies of all targets, asked for at once."""
    replies = await asyncio.gather(*map(fetch, targets.values()))
    return dict(zip(targets, replies, strict=True))
