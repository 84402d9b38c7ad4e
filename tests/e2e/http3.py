"""An HTTP/3 client that opens a new QUIC connection for each request."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent

from xds_server.demo.client import TIMEOUT, Reply, Target


class _Exchange(QuicConnectionProtocol):
    """One request and its answer."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._http = H3Connection(self._quic)
        self._headers: dict[str, str] = {}
        self._body = b""
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def ask(self, target: Target) -> None:
        stream = self._quic.get_next_available_stream_id()
        fields = {":method": target.method, ":scheme": "https", ":authority": target.authority, ":path": target.path}
        pairs = [(name.encode(), value.encode()) for name, value in (*fields.items(), *target.headers)]
        self._http.send_headers(stream, pairs, end_stream=True)
        self.transmit()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            self._end(Reply(0, error=event.reason_phrase))
        for part in self._http.handle_event(event):
            self._received(part)

    def _received(self, part: H3Event) -> None:
        if isinstance(part, HeadersReceived):
            self._headers |= {name.decode(): value.decode() for name, value in part.headers}
        elif isinstance(part, DataReceived):
            self._body += part.data
        if getattr(part, "stream_ended", False):
            self._end(Reply(int(self._headers[":status"]), self._headers, self._body))

    def _end(self, reply: Reply) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)


async def fetch(target: Target, server_name: str, authorities: Path, pair: tuple[Path, Path] | None = None) -> Reply:
    """One request. Never raises for what a network can do.

    server_name: what the certificate must be for. authorities, pair: PEM files; the client's certificate and key.
    """
    settings = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name=server_name)
    settings.load_verify_locations(str(authorities))
    if pair:
        settings.load_cert_chain(*pair)
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            connect(target.host, target.port, configuration=settings, create_protocol=_Exchange) as connection,
        ):
            assert isinstance(connection, _Exchange)
            connection.ask(target)
            return await connection.reply
    except OSError as error:  # TimeoutError and ConnectionError are OSErrors
        return Reply(0, error=f"{type(error).__name__}: {error}")
