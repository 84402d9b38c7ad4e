"""A client that keeps its connection, as those of the public benchmarks do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

import msgspec

POLL = 0.005
"""Seconds between two requests that wait for a change."""
STAYS = 5
"""Requests after the first good one that must be good as well."""


class Answer(msgspec.Struct, frozen=True):
    """status 0: there was none."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""


class Asker:
    """Sends requests one after the other, on one connection to a port of this machine as long as it is open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Asker:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def ask(self, host: str, path: str = "/") -> Answer:
        try:
            answer = await self._ask(host, path)
        except (OSError, asyncio.IncompleteReadError):
            self._close()
            return Answer(0)
        if answer.headers.get("connection") == "close":
            self._close()
        return answer

    async def _ask(self, host: str, path: str) -> Answer:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(status.split(" ")[1]), headers, body)

    async def until(self, host: str, is_done: Callable[[Answer], bool]) -> Answer:
        """Asks until the answer is as it should be."""
        while True:
            answer = await self.ask(host)
            if is_done(answer):
                return answer
            await asyncio.sleep(POLL)

    async def until_served(self, host: str, path: str = "/") -> tuple[float, list[int]]:
        """Asks until the answer is 200, and some more. Returns the seconds that it took, and every status that was no
        404 before, or no 200 after."""
        began = asyncio.get_running_loop().time()
        odd: list[int] = []
        while (status := (await self.ask(host, path)).status) != 200:
            odd += [] if status == 404 else [status]
            await asyncio.sleep(POLL)
        took = asyncio.get_running_loop().time() - began
        for _ in range(STAYS):
            status = (await self.ask(host, path)).status
            odd += [] if status == 200 else [status]
        return took, odd
