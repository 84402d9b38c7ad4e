"""Small servers that say who they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from xds_server.demo.system import Workload

Serve = Callable[[Workload, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""What a Postgres client sends first to ask for TLS (protocol 3.0, section 53.7)."""


async def _nothing() -> dict[str, Any]:
    return {}


async def serve_http(
    workload: Workload,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    more: Callable[[], Awaitable[dict[str, Any]]] = _nothing,
) -> None:
    """HTTP/1.1 with keep-alive. The answer tells the workload, what it was asked, and `more`.

    A request header `x-answer: 503,503,200` asks for these statuses, one after the other, as the sidecar or gateway
    tries again.
    """
    while head := await _head(reader):
        request, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = request.split(" ")
        answer = {"app": workload.app, "version": workload.version, "method": method, "path": path, "headers": headers}
        body = json.dumps(answer | await more()).encode()
        writer.write(b"HTTP/1.1 %d Answer\r\ncontent-type: application/json\r\n" % _status(headers))
        writer.write(b"content-length: %d\r\n\r\n" % len(body))
        writer.write(b"" if method == "HEAD" else body)
        await writer.drain()


def _status(headers: dict[str, str]) -> int:
    wanted = headers.get("x-answer", "200").split(",")
    attempt = int(headers.get("x-envoy-attempt-count", 1))
    return int(wanted[min(attempt, len(wanted)) - 1])


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def serve_postgres(_: Workload, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuses TLS as a Postgres without certificates does; everything else comes back."""
    await _answer(reader, writer, lambda sent: b"N" if sent == SSL_REQUEST else sent)


async def serve_redis(_: Workload, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers PING as Redis does; everything else comes back."""
    await _answer(reader, writer, lambda sent: b"+PONG\r\n" if b"PING" in sent else sent)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Callable[[bytes], bytes]) -> None:
    while sent := await reader.read(65536):
        writer.write(reply(sent))
        await writer.drain()


PROTOCOLS: dict[str, Serve] = {"postgres": serve_postgres, "redis": serve_redis}
"""The label `app` of a workload -> what it speaks; HTTP if it is not here."""


@contextlib.asynccontextmanager
async def upstreams(workloads: Iterable[Workload]) -> AsyncIterator[None]:
    """Runs a server for each workload. Raises OSError when an address is in use."""
    async with contextlib.AsyncExitStack() as stack:
        for workload in workloads:
            await stack.enter_async_context(upstream(workload, PROTOCOLS.get(workload.app, serve_http)))
        yield


@contextlib.asynccontextmanager
async def upstream(workload: Workload, serve: Serve = serve_http) -> AsyncIterator[Workload]:
    """One server; with port 0 it takes a free one. Yields the workload with the port that it has."""
    writers: set[asyncio.StreamWriter] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(workload, reader, writer)
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(connection, workload.host, workload.port)
    try:
        port: int = server.sockets[0].getsockname()[1]
        yield Workload(workload.app, workload.version, workload.host, port)
    finally:
        server.close()
        for writer in list(writers):
            writer.close()
