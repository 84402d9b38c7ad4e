"""One synthetic Envoy on the network."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import cast

from xds_server.loadtest import errors
from xds_server.loadtest.envoy import INITIAL_FETCH_TIMEOUT, Envoy
from xds_server.loadtest.http2 import INTERNAL, Call, Ended
from xds_server.loadtest.responses import Unreadable
from xds_server.loadtest.results import Results

clock = time.perf_counter


class Connection(asyncio.Protocol):
    """A connection with one stream. buffer: bytes of its receive buffer, 0 for the system's choice.

    ended: how it ended. answered: whether a response has come.
    """

    def __init__(self, number: int, envoy: Envoy, opening: bytes, results: Results, buffer: int = 0) -> None:
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.answered = False
        self._number, self._envoy, self._results = number, envoy, results
        self._buffer = buffer
        self._call = Call(opening)
        self._transport: asyncio.Transport
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._buffer:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
        self._patience = asyncio.get_running_loop().call_later(INITIAL_FETCH_TIMEOUT, self._lose_patience)
        self._send([self._envoy.start()])

    def data_received(self, data: bytes) -> None:
        now = clock()
        call, envoy, results = self._call, self._envoy, self._results
        was_configured = envoy.configured
        for raw in call.receive(data):
            try:
                response, requests = envoy.receive(raw)
            except Unreadable:
                call.ended = Ended(INTERNAL, "a response cannot be decoded")
                break
            self.answered = True
            results.received(self._number, response, len(raw), now)
            for request in requests:
                call.send(request)
        if out := call.taken():
            self._transport.write(out)
        if envoy.configured and not was_configured:
            results.complete(self._number, now)
        if call.ended:
            self._transport.abort()  # closing over TLS would wait for the server to say goodbye

    def connection_lost(self, exc: Exception | None) -> None:
        if self._patience:
            self._patience.cancel()
        if not self.ended.done():
            self.ended.set_result(self._call.lost(errors.lost(exc)))

    def stall(self) -> None:
        """Reads no more, as a proxy that hangs."""
        self._transport.pause_reading()

    def resume(self) -> None:
        if not self.ended.done():
            self._transport.resume_reading()

    def close(self) -> None:
        if not self.ended.done():
            self._transport.abort()

    def _lose_patience(self) -> None:
        self._send(self._envoy.go_on(patient=False))

    def _send(self, requests: list[bytes]) -> None:
        for request in requests:
            self._call.send(request)
        if out := self._call.taken():
            self._transport.write(out)
