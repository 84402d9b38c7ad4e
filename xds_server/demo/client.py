"""A client that opens a new connection for each request, so that no failure hides behind a kept one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from typing import Any

import msgspec

TIMEOUT = 10.0
"""Seconds that a request may take."""
_STATUS = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})\b")


class Reply(msgspec.Struct, frozen=True):
    """status 0: there was no answer; `error` says why."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""
    error: str = ""

    @property
    def ok(self) -> bool:
        return self.status == 200

    def json(self) -> Any:
        return json.loads(self.body)


class Target(msgspec.Struct, frozen=True):
    """Where requests go: a port, or a unix socket. authority: the Host header, and the name in the certificate."""

    port: int
    authority: str
    path: str = "/"
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    socket: str = ""


async def fetch(target: Target) -> Reply:
    """One HTTP/1.1 request. Never raises for what a network can do."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _fetch(target)
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:  # TimeoutError is an OSError
        return Reply(0, error=f"{type(error).__name__}: {error}")


async def _fetch(target: Target) -> Reply:
    lines = [f"{target.method} {target.path} HTTP/1.1", f"host: {target.authority}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in target.headers]
    sent = ("\r\n".join(lines) + "\r\n\r\n").encode()
    received = await exchange(target, sent)
    head, _, body = received.partition(b"\r\n\r\n")
    if not head:
        return Reply(0, error="the connection was closed without an answer")
    status, *headers = head.decode("latin-1").split("\r\n")
    found = _STATUS.match(status)
    if found is None:
        return Reply(0, error="the answer is not HTTP")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in headers)}
    return Reply(int(found[1]), fields, _unchunked(body) if "transfer-encoding" in fields else body)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + body[:length], body[length + 2 :]
    return whole


async def exchange(target: Target, sent: bytes, until: bytes = b"") -> bytes:
    """What comes back on a new connection: until it ends with `until`, or up to the end."""
    name = target.authority.partition(":")[0] if target.tls else None
    if target.socket:
        reader, writer = await asyncio.open_unix_connection(target.socket)
    else:
        reader, writer = await asyncio.open_connection(target.host, target.port, ssl=target.tls, server_hostname=name)
    try:
        writer.write(sent)
        await writer.drain()
        return await (reader.readuntil(until) if until else reader.read())
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
