"""Proxies that take and acknowledge everything, for a few dozen microseconds of CPU a response.

Each has a connection and a delta ADS stream of its own, as an Envoy has. Only as much of HTTP/2 is spoken as that
takes: one stream, windows as large as they can be, headers without compression.
"""

from __future__ import annotations

import asyncio
import socket
import time

from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from benchmarks.workload import CLUSTERS, name
from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, PREFIX, ROUTE

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
ASKED = {CLUSTER: [], ENDPOINT: [name(i) for i in range(CLUSTERS)], LISTENER: [], ROUTE: ["routes"]}

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4
_WINDOW = 2**31 - 1
_RECEIVE_BUFFER = 4 * 2**20  # with the default, large messages on loopback stall for 200 ms
_STALLED_BUFFER = 64 * 1024  # so that what is not read fills the server's side
_TAIL = 300  # bytes at the end of a response that hold its type and nonce


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _message(data: bytes) -> bytes:
    return _frame(_DATA, 0, 1, b"\0" + len(data).to_bytes(4, "big") + data)


def _field(key: str, value: str) -> bytes:
    return b"\0" + bytes([len(key)]) + key.encode() + bytes([len(value)]) + value.encode()


_HEADER_FIELDS = {
    ":method": "POST",
    ":scheme": "http",
    ":path": METHOD,
    ":authority": "xds",
    "content-type": "application/grpc",
    "te": "trailers",  # codespell:ignore te
}
_HELLO = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _frame(_SETTINGS, 0, 0, b"\0\4" + _WINDOW.to_bytes(4, "big"))
    + _frame(_WINDOW_UPDATE, 0, 0, (_WINDOW - 65535).to_bytes(4, "big"))
    + _frame(_HEADERS, _END_HEADERS, 1, b"".join(_field(*field) for field in _HEADER_FIELDS.items()))
)


class Proxies:
    """count: all of them; reading: those that do. on_node: so many say that they run on the same node.
    arrived: when each response of the current round came."""

    def __init__(self, port: int, count: int, on_node: int) -> None:
        self.count = self.reading = count
        self.arrived: list[float] = []
        self._port = port
        self._on_node = on_node
        self._proxies: list[_Proxy] = []
        self._acknowledgements: dict[bytes, bytes] = {}
        self._expected = 0
        self._all: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expect(self, responses: int) -> None:
        self.arrived = []
        self._expected = responses
        self._all = asyncio.get_running_loop().create_future()

    async def all(self) -> list[float]:
        """When the expected responses came, once they have. Raises ConnectionError when a stream ended."""
        await self._all
        return self.arrived

    async def connect(self) -> None:
        """Opens every stream, at the same time."""
        await asyncio.gather(*(self._open(number) for number in range(self.count)))

    def stall(self, count: int) -> None:
        """So many of them do not read any more."""
        self.reading -= count
        for proxy in self._proxies[:count]:
            proxy.stall()

    def close(self) -> None:
        self._expected = 0
        for proxy in self._proxies:
            proxy.transport.abort()

    def took(self, tail: bytes) -> bytes:
        """Notes a response, of which it needs the end, and acknowledges it."""
        self.arrived.append(time.perf_counter())
        if len(self.arrived) == self._expected:
            self._all.set_result(None)
        found = self._acknowledgements.get(tail)
        if found is None:
            found = self._acknowledgements[tail] = _message(_acknowledgement(tail))
        return found

    def lost(self, why: str) -> None:
        if self._expected and not self._all.done():
            self._all.set_exception(ConnectionError(why))

    async def _open(self, number: int) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", self._port))
        _, proxy = await loop.create_connection(lambda: _Proxy(self, number, self._metadata(number)), sock=connection)
        self._proxies.append(proxy)

    def _metadata(self, number: int) -> dict[str, str]:
        return {"NODE_NAME": f"node-{number // self._on_node}"}


class _Proxy(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, proxies: Proxies, number: int, metadata: dict[str, str]) -> None:
        self._proxies = proxies
        self._number = number
        self._metadata = metadata
        self._unread = b""  # of a frame that has not come as a whole
        self._chunks: list[bytes] = []
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        node: Node | None = Node(id=f"router~10.0.0.1~proxy-{self._number}.default~x", metadata=self._metadata)
        hello = [_HELLO]
        for type_url, names in ASKED.items():
            request = DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names, node=node)
            hello.append(_message(request.SerializeToString()))
            node = None
        transport.write(b"".join(hello))

    def stall(self) -> None:
        self.transport.pause_reading()
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STALLED_BUFFER)

    def data_received(self, data: bytes) -> None:
        if self._unread:
            data = self._unread + data
        at = 0
        while len(data) - at >= 9:
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if len(data) < end:
                break
            self._frame(data[at + 3], data[at + 4], data[at + 9 : end])
            at = end
        self._unread = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxies.lost(f"a connection broke: {exc}")

    def _frame(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _DATA:
            self._take(payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self.transport.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self.transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind in (_RESET, _GOAWAY) or (kind == _HEADERS and flags & _END_STREAM):
            self._proxies.lost(f"a stream ended: {payload!r}")

    def _take(self, payload: bytes) -> None:
        """Responses come one after the other, each behind its length, cut anywhere into frames."""
        self._chunks.append(payload)
        self._size += len(payload)
        while self._size >= 5:
            if len(self._chunks[0]) < 5:
                self._chunks = [b"".join(self._chunks)]
            length = 5 + int.from_bytes(self._chunks[0][1:5], "big")
            if self._size < length:
                return
            tail, rest = b"".join(self._chunks[-2:]), self._size - length
            self._chunks = [tail[-rest:]] if rest else []
            self._size = rest
            self.transport.write(self._proxies.took(tail[-_TAIL - rest : len(tail) - rest]))


def _acknowledgement(tail: bytes) -> bytes:
    """Of a response, of which the end is enough: the type URL and the nonce are behind the resources."""
    at = tail.rindex(PREFIX.encode())
    nonce = at + tail[at - 1] + 2
    type_url, nonce_bytes = tail[at : nonce - 2], tail[nonce : nonce + tail[nonce - 1]]
    request = DeltaDiscoveryRequest(type_url=type_url.decode(), response_nonce=nonce_bytes.decode())
    return bytes(request.SerializeToString())
