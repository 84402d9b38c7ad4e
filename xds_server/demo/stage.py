"""Everything of the demo, running: upstreams, the server, a gateway Envoy and a sidecar Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from xds_server.bootstrap import Node
from xds_server.demo.client import Target, fetch
from xds_server.demo.processes import Child, Server, envoy, server
from xds_server.demo.system import System, place
from xds_server.demo.upstreams import upstreams

SITE = "myapp.example.com"
GATEWAY = Node("gateway", namespace="production", labels=(("istio", "ingressgateway"),))
START_SECONDS = 60.0


def sidecar(system: System) -> Node:
    """The Envoy of a workload that calls the services of the system."""
    return Node(
        "sidecar",
        role="sidecar",
        namespace="production",
        interception="NONE",
        http_proxy_port=system.http_proxy,
        unprivileged=True,
    )


class NotReady(Exception):
    """The Envoys did not answer in time; the text says what the last answer was."""


class Stage(msgspec.Struct, frozen=True):
    """The running parts, and where to send requests."""

    system: System
    server: Server
    children: tuple[Child, ...]

    @property
    def site(self) -> Target:
        """The canary, over HTTP."""
        return Target(self.system.ports["http"], SITE, "/api/v2")

    @property
    def secure_site(self) -> Target:
        """The canary over HTTPS; the certificate must be the one of the Secret."""
        context = ssl.create_default_context(cadata=self.system.certificate)
        return Target(self.system.ports["https"], SITE, "/api/v2", tls=context)

    @property
    def user_api(self) -> Target:
        """The Service user-api, through the sidecar as an HTTP proxy."""
        return Target(self.system.http_proxy, "user-api.backend.svc.cluster.local")

    def check(self) -> None:
        """Raises ProcessEnded when a part is gone."""
        for child in (*self.children, self.server.child):
            child.check()


@contextlib.asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    """Starts everything, and ends it when the block is left. The YAML to edit is in `directory`/config.

    Raises FileNotFoundError when there is no Envoy, NotReady, ProcessEnded.
    """
    config = directory / "config"
    config.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        system = await _workloads(config, stack)
        control = await stack.enter_async_context(server(config, directory))
        envoys = [
            await stack.enter_async_context(envoy(node, control.xds_port, directory))
            for node in (GATEWAY, sidecar(system))
        ]
        running = Stage(system, control, tuple(envoys))
        await _answering(running)
        yield running


async def _workloads(config: Path, stack: contextlib.AsyncExitStack) -> System:
    """The upstreams on the example's own addresses, or on others if it runs already. Having the addresses also
    decides who has the ports of the gateway, because Envoys would share those in silence (SO_REUSEPORT)."""
    try:
        system = place(config)
        await stack.enter_async_context(upstreams(system.workloads()))
    except OSError:
        system = place(config, moved=True)
        await stack.enter_async_context(upstreams(system.workloads()))
    return system


async def _answering(running: Stage) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS
    for target in (running.site, running.secure_site, running.user_api):
        while not (reply := await fetch(target)).ok:
            running.check()
            if loop.time() > deadline:
                raise NotReady(f"{target.authority} on port {target.port} answers {reply.status or reply.error}")
            await asyncio.sleep(0.05)
