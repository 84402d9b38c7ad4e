"""The synthetic Envoys of a test on the network: connected, connected again, stalled."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import ssl

import msgspec

from xds_server.loadtest import errors
from xds_server.loadtest.connection import Connection, clock
from xds_server.loadtest.envoy import Envoy, Shared
from xds_server.loadtest.http2 import opening
from xds_server.loadtest.results import Results
from xds_server.loadtest.variants import Variant
from xds_server.version import __version__

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before a lost stream is opened again: at random up to the first, then twice that each time, as Envoy does."""

LOCAL_BUFFER = 4 * 2**20
"""Bytes of a receive buffer on loopback. Segments of 64 KB fill the default so fast that the kernel stops the server
for 200 ms at a time in the middle of a large response, which no network does. Who is to stall has the default."""


class Target(msgspec.Struct, frozen=True):
    """What is loaded. address: an IP address. authority: how the user names it. server_name: whom its certificate
    is for."""

    address: str
    port: int
    authority: str
    tls: ssl.SSLContext | None = None
    server_name: str | None = None


class Fleet:
    """first_requests: of each stream; they say who it is. rate: connections per second, 0 for all at once.
    stalling: how many streams are to stall; they are spread evenly over all."""

    def __init__(
        self,
        target: Target,
        variant: Variant,
        first_requests: tuple[bytes, ...],
        rate: float,
        stalling: int,
        results: Results,
    ) -> None:
        self._target, self._rate, self._results = target, rate, results
        scheme = "https" if target.tls else "http"
        agent = f"xds-server-loadtest/{__version__}"
        self._opening = opening(scheme, target.authority, variant.path, agent)
        shared = Shared(variant)
        self._envoys = [Envoy(shared, first) for first in first_requests]
        self._open: dict[int, Connection] = {}
        streams = len(first_requests)
        self._stalling = frozenset(index * streams // stalling for index in range(stalling))
        self._local = ipaddress.ip_address(target.address).is_loopback
        self._stalled: dict[int, Connection] = {}
        self.closed = 0  # stalled streams that the server has ended
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._live(number)) for number in range(len(self._envoys))]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for connection in self._open.values():
            connection.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def missing(self) -> list[list[str]]:
        """What each Envoy that is not configured still waits for."""
        return [envoy.missing() for envoy in self._envoys if not envoy.configured]

    def reading(self) -> set[int]:
        """The streams that are open, configured and not stalled."""
        return {number for number in self._open if self._envoys[number].configured} - self._stalled.keys()

    def stall(self) -> None:
        """Makes those that are to stall stop reading."""
        self._stalled = {number: self._open[number] for number in self._stalling & self.reading()}
        for connection in self._stalled.values():
            connection.stall()

    def stalled(self) -> int:
        return len(self._stalled)

    def resume(self) -> None:
        """Makes the stalled streams read what waits for them."""
        for connection in self._stalled.values():
            connection.resume()

    async def _live(self, number: int) -> None:
        """Keeps the stream open until the task is cancelled."""
        if self._rate:
            await asyncio.sleep(number / self._rate)
        self._results.start(number, clock())
        delay = FIRST_DELAY
        while True:
            error, answered = await self._until_lost(number)
            if number in self._stalled:
                self.closed += 1  # as a server should that pings its clients
                return
            self._results.failed(number, error)
            delay = FIRST_DELAY if answered else min(delay * 2, LONGEST_DELAY)
            await asyncio.sleep(random.random() * delay)

    async def _until_lost(self, number: int) -> tuple[str, bool]:
        """Connects, and returns when it is over: the error, and whether the stream ever got a response."""
        target = self._target
        buffer = LOCAL_BUFFER if self._local and number not in self._stalling else 0
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(number, self._envoys[number], self._opening, self._results, buffer),
                target.address,
                target.port,
                ssl=target.tls,
                server_hostname=target.server_name,
            )
        except OSError as error:
            return errors.not_connected(error), False
        self._open[number] = connection
        try:
            return errors.ended(await connection.ended), connection.answered
        finally:
            del self._open[number]
