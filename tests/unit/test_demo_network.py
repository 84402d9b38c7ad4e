"""What the demonstration asks of the network."""

from __future__ import annotations

import asyncio

import pytest

from xds_server.demo import ports
from xds_server.demo.client import Target, fetch


def test_a_port_is_given_once_though_nobody_listens_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = ports.free_port(), ports.free_port()
    drawn = iter((one, other, one, 9_999))
    monkeypatch.setattr(ports.random, "randrange", lambda *_: next(drawn))
    monkeypatch.setattr(ports, "is_free", lambda port: True)
    assert ports.free_port() == 9999


@pytest.mark.parametrize("content", [b"\0\0\6\4\0\0\0\0\0", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n"], ids=repr)
async def test_an_answer_that_is_not_http_is_an_error(content: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(content)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reply = await fetch(Target(server.sockets[0].getsockname()[1], "a.example", "/"))
    assert (reply.status, reply.error) == (0, "the answer is not HTTP")
