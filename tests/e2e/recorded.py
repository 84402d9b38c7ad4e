"""Upstreams that remember what they were asked, and do as the path says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import msgspec

_SIGNATURE = b"\x00\r\nQUIT\n"
"""What is left of the signature of a PROXY header of version 2 after its empty lines."""


class Asked(msgspec.Struct, frozen=True):
    """One request. server_name: the SNI of its connection. proxied: 1 or 2, by the PROXY header of the connection."""

    method: str
    path: str
    headers: dict[str, str]
    server_name: str = ""
    proxied: int = 0


class Upstream:
    """HTTP/1.1. The header `x-answer: 503,200` asks for statuses, one for each attempt of the proxy; a path with
    `hang` in it is answered when `release` is set. status: of all other answers."""

    def __init__(self, name: str, tls: ssl.SSLContext | None = None) -> None:
        self.name, self.tls, self.port, self.status = name, tls, 0, 200
        self.asked: list[Asked] = []
        self.release = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._names: dict[int, str] = {}
        self._writers: set[asyncio.StreamWriter] = set()

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def count(self, path: str) -> int:
        return self.paths().count(path)

    async def start(self) -> None:
        if self.tls is not None:
            self.tls.sni_callback = self._remember_name
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuses connections from now on; `start` opens the same port again."""
        self.release.set()
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()

    def _remember_name(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        self._names[id(connection)] = name or ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._connection(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # whoever asks goes away when it likes, and so does the test's loop
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = self._names.get(id(writer.get_extra_info("ssl_object")), "")
        proxied = 0
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
            if not head:
                continue  # a PROXY header of version 2 begins with an empty line
            if head.startswith(b"PROXY "):
                proxied, head = 1, head.partition(b"\r\n")[2]
            elif head.startswith(_SIGNATURE):
                proxied, head = 2, head[12 + int.from_bytes(head[10:12]) :]
            request, *lines = head.decode("latin-1").split("\r\n")
            headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines if line)}
            await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = request.split(" ")
            self.asked.append(Asked(method, path, headers, name, proxied))
            if "hang" in path:
                await self.release.wait()
            body = json.dumps({"name": self.name, "path": path, "headers": headers}).encode()
            writer.write(b"HTTP/1.1 %d Answer\r\ncontent-length: %d\r\n\r\n" % (self._status(headers), len(body)))
            writer.write(b"" if method == "HEAD" else body)
            await writer.drain()
            if headers.get("connection") == "close":
                return

    def _status(self, headers: dict[str, str]) -> int:
        if "x-answer" not in headers:
            return self.status
        wanted = headers["x-answer"].split(",")
        return int(wanted[min(int(headers.get("x-envoy-attempt-count", 1)), len(wanted)) - 1])


@contextlib.asynccontextmanager
async def upstream(name: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    running = Upstream(name, tls)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


def entry(host: str, *upstreams: Upstream, protocol: str = "HTTP", labels: str = "") -> str:
    """A ServiceEntry of the host, with the upstreams as endpoints that have their name as the label `version`."""
    endpoints = [
        f"  - {{address: 127.0.0.1, ports: {{main: {each.port}}}, labels: {{version: {each.name}{labels}}}}}\n"
        for each in upstreams
    ]
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host.partition(".")[0]}, namespace: default}}
spec:
  hosts: [{host}]
  ports: [{{number: 80, name: main, protocol: {protocol}}}]
  resolution: STATIC
  endpoints:
{"".join(endpoints)}---
"""


def gateway(*servers: str) -> str:
    """The Gateway of the proxies with the label `app: edge`."""
    listed = "".join(f"  - {server}\n" for server in servers)
    return f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec:
  selector: {{app: edge}}
  servers:
{listed}---
"""


async def stat(lab: Any, node: str, name: str) -> int:
    """A counter of an Envoy."""
    stats = await lab.ask_envoy(node, f"/stats?format=json&filter=^{name}$")
    return sum(item["value"] for item in stats["stats"] if "value" in item)
