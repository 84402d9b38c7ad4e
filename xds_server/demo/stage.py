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
    system = place(config)
    sidecar = Node(
        "sidecar",
        role="sidecar",
        namespace="production",
        interception="NONE",
        http_proxy_port=system.http_proxy,
        unprivileged=True,
    )
    async with (
        upstreams(system.workloads()),
        server(config, directory) as control,
        envoy(GATEWAY, control.xds_port, directory) as gateway,
        envoy(sidecar, control.xds_port, directory) as client,
    ):
        running = Stage(system, control, (gateway, client))
        await _answering(running)
        yield running


async def _answering(running: Stage) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS
    for target in (running.site, running.secure_site, running.user_api):
        while not (reply := await fetch(target)).ok:
            running.check()
            if loop.time() > deadline:
                raise NotReady(f"{target.authority} on port {target.port} answers {reply.status or reply.error}")
            await asyncio.sleep(0.05)
