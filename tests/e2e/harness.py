"""A lab for end-to-end tests: the server as a process, real Envoys, upstreams, and a load that must not fail.

    async def test_something(lab: Lab) -> None:
        web = await lab.upstream("web")
        lab.write("web.yaml", ...)
        await lab.serve()
        await lab.envoy(Node("gateway"))
        await eventually(lambda: answered(target))
        async with lab.load(target) as traffic:
            lab.write("web.yaml", ...)
            await eventually(lambda: traffic.share("v2") > 0.7)
        assert traffic.failures == []

Everything that was started ends with the test. Nothing sleeps: `eventually` waits on a condition.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from xds_server.bootstrap import Node
from xds_server.demo.client import Reply, Target, fetch
from xds_server.demo.ports import free_port
from xds_server.demo.processes import Child, Server, envoy, server
from xds_server.demo.system import System, Workload, place
from xds_server.demo.traffic import Traffic, requests
from xds_server.demo.upstreams import PROTOCOLS, serve_http, upstream, upstreams

PATIENCE = 40.0
"""Seconds that a condition may take to come true on a loaded machine."""


async def eventually(condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE) -> Any:
    """What the condition (a function or coroutine function) gives once it is true. Raises AssertionError in the end.

    An AssertionError or OSError of the condition itself counts as not yet, and is shown when time is up.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    reason: object = ""
    while True:
        try:
            result = condition()
            if result := await result if inspect.isawaitable(result) else result:
                return result
        except (AssertionError, OSError) as not_yet:
            reason = not_yet
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what or inspect.getsource(condition).strip()} did not come true. {reason}")
        await asyncio.sleep(0.02)


async def answered(target: Target, status: int = 200) -> Reply:
    """The reply, which must have this status; for `eventually`."""
    reply = await fetch(target)
    assert reply.status == status, f"{target.authority}{target.path}: {reply.status} {reply.error} {reply.body[:200]!r}"
    return reply


def _content(reply: Reply) -> Any:
    return reply.json() if reply.headers["content-type"] == "application/json" else reply.body.decode()


class Lab:
    """directory: logs and sockets. config: the YAML that the server reads."""

    def __init__(self, directory: Path, stack: contextlib.AsyncExitStack) -> None:
        self.directory, self.config = directory, directory / "config"
        self.config.mkdir()
        self.xds_port = free_port()
        self.server: Server
        self._stack = stack
        self._serving = contextlib.AsyncExitStack()

    def write(self, name: str, text: str) -> None:
        """A file of the config, replaced in one step as editors do."""
        draft = self.directory / "draft"
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.config / name)

    def delete(self, name: str) -> None:
        (self.config / name).unlink()

    def place_articles(self) -> System:
        """Writes the articles' system into the config, on addresses and ports of its own."""
        return place(self.config, moved=True)

    async def serve(self, *options: str) -> Server:
        """Starts the server, always on the same port, so that Envoys find it again."""
        await self._stack.enter_async_context(self._serving)
        serving = server(self.config, self.directory, *options, xds_port=self.xds_port)
        self.server = await self._serving.enter_async_context(serving)
        return self.server

    async def stop(self, how: int) -> int:
        """Ends the server with a signal and returns its exit code; `serve` starts another."""
        code = await self.server.child.stop(how)
        await self._serving.aclose()
        return code

    async def envoy(self, node: Node) -> Child:
        """A running Envoy with the bootstrap of the node."""
        return await self._stack.enter_async_context(envoy(node, self.xds_port, self.directory))

    async def upstream(self, app: str, version: str = "", host: str = "127.0.0.1", port: int = 0) -> Workload:
        """A running upstream that says who it is."""
        workload = Workload(app, version, host, port)
        return await self._stack.enter_async_context(upstream(workload, PROTOCOLS.get(app, serve_http)))

    async def upstreams(self, system: System) -> None:
        await self._stack.enter_async_context(upstreams(system.workloads()))

    @contextlib.asynccontextmanager
    async def load(self, target: Target, pause: float = 0.01) -> AsyncIterator[Traffic]:
        """Requests in a constant loop, a new connection each."""
        traffic = Traffic()
        async with requests(target, traffic, pause=pause):
            await eventually(lambda: traffic.total > 20, "the first requests of the load")
            yield traffic
            seen = traffic.total
            await eventually(lambda: traffic.total > seen + 20, "the last requests of the load")

    async def found(self, *words: str, state: str = "found") -> dict[str, Any]:
        """The log entry of a finding that has all these words, once the server has written it; or that it is gone."""

        def entry() -> dict[str, Any] | None:
            for logged in self.server.events:
                if logged.get("state") == state and all(word in logged["event"] for word in words):
                    return logged
            return None

        self.server.child.check()
        result: dict[str, Any] = await eventually(entry, f"a finding with {words}, {state}")
        return result

    async def admin(self, path: str) -> Any:
        """What an admin endpoint of the server answers."""
        return _content(await answered(Target(self.server.admin_port, "127.0.0.1", path)))

    async def ask_envoy(self, node_id: str, path: str) -> Any:
        """What the admin interface of an Envoy answers."""
        return _content(await answered(Target(0, "envoy", path, socket=str(self.directory / f"{node_id}.sock"))))

    async def accepted(self, node_id: str) -> None:
        """Waits until an Envoy has no update that it rejected and at least one that it took."""

        async def counters() -> bool:
            stats = await self.ask_envoy(node_id, "/stats?format=json&filter=cds.update_|lds.update_")
            values = {item["name"]: item["value"] for item in stats["stats"] if "value" in item}
            assert not any(value for name, value in values.items() if name.endswith("update_rejected")), values
            return bool(values.get("cluster_manager.cds.update_success"))

        await eventually(counters)


def descendants() -> list[int]:
    """The ids of this process's living children, theirs included."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    family = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sorted(family - {os.getpid()})
