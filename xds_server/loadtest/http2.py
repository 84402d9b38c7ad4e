"""The client's side of one gRPC call on a connection of its own, without the network: bytes in, messages out.

It is the small part of HTTP/2 (RFC 9113) that a call of two streams of messages needs; docs/decisions/0011 says why it
is written here. Header blocks are read and written by hpack.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import msgspec
from hpack import Decoder, Encoder, HPACKError

from xds_server.loadtest.messages import PREFIX, Compressed, Messages

STREAM_WINDOW, CONNECTION_WINDOW = 16 * 2**20, 24 * 2**20
"""As Envoy offers them. They are opened again once half of the stream's is used up."""

LARGEST_FRAME = 16_384
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 2, 4, 5
STREAM = 1

OK, CANCELLED, UNKNOWN, INTERNAL, UNAVAILABLE = 0, 1, 2, 13, 14
OF_HTTP = {
    400: INTERNAL,
    401: 16,
    403: 7,
    404: 12,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}
"""HTTP status of an answer without a gRPC status -> gRPC status (grpc/doc/http-grpc-status-mapping.md)."""
OF_RESET = {7: UNAVAILABLE, 8: CANCELLED, 11: 8, 12: 7}
"""Error code of HTTP/2 -> gRPC status (grpc/doc/PROTOCOL-HTTP2.md)."""
ERRORS = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
).split()

_TLS_ALERT = b"\x15\x03"
_HEADER = struct.Struct(">BHBBI")
_SETTING = struct.Struct(">HI")


class Ended(msgspec.Struct, frozen=True):
    """How a call ended: a gRPC status, and words about it."""

    code: int
    text: str


class _Wrong(Exception):
    """The peer broke the protocol, or speaks another one."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _HEADER.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def opening(scheme: str, authority: str, path: str, user_agent: str) -> bytes:
    """What a client sends first: the same for every connection, so it is made once."""
    fields = [
        (":method", "POST"),
        (":scheme", scheme),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", user_agent),
    ]
    settings = _SETTING.pack(ENABLE_PUSH, 0) + _SETTING.pack(INITIAL_WINDOW_SIZE, STREAM_WINDOW)
    return b"".join(
        (
            PREFACE,
            frame(SETTINGS, 0, 0, settings),
            frame(WINDOW_UPDATE, 0, 0, (CONNECTION_WINDOW - 65_535).to_bytes(4, "big")),
            frame(HEADERS, END_HEADERS, STREAM, Encoder().encode(fields)),
        )
    )


class Call:
    """One call. `receive` gives the messages in what has come; `taken` is what has to go out.

    ended: None while the call goes on. leaving: words of a GOAWAY that lets the call go on, else empty.
    """

    __slots__ = (
        "_block", "_decoder", "_initial_window", "_largest", "_last", "_left", "_messages", "_out", "_rest",
        "_send_connection", "_send_stream", "_status", "_unreported", "_unsent", "ended", "leaving", "settled",
    )  # fmt: skip

    def __init__(self, opening: bytes) -> None:
        self.ended: Ended | None = None
        self.leaving = ""
        self.settled = False  # the peer has said that it speaks HTTP/2
        self._out: list[bytes] = [opening]
        self._rest = b""
        self._left = 0  # bytes that are still to come of a frame of data
        self._messages = Messages()
        self._block = b""  # of headers that go on in the next frame
        self._last = False  # whether they are trailers
        self._decoder: Decoder | None = None
        self._status = 0  # of HTTP
        self._unreported = 0
        self._unsent = bytearray()
        self._initial_window = self._send_stream = self._send_connection = 65_535
        self._largest = LARGEST_FRAME

    def taken(self) -> bytes:
        """What goes out now; empty for nothing."""
        out, self._out = self._out, []
        return b"".join(out)

    def send(self, message: bytes) -> None:
        size = len(message) + 5
        if self._unsent or size > self._largest or size > self._send_stream or size > self._send_connection:
            self._unsent += PREFIX.pack(0, len(message)) + message
            self._send_more()
            return
        self._send_stream -= size
        self._send_connection -= size
        self._out.append(_HEADER.pack(0, size, DATA, 0, STREAM) + PREFIX.pack(0, size - 5) + message)

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that are complete now. What is wrong ends the call."""
        messages: list[bytes] = []
        if self._rest:
            data = self._rest + data
            self._rest = b""
        try:
            position = self._go_on(data, messages) if self._left else 0
            position = self._frames(data, position, messages)
            self._rest = data[position:]
        except _Wrong as wrong:
            self.ended = Ended(INTERNAL, str(wrong))
        except Compressed:
            self.ended = Ended(INTERNAL, "a message is compressed, though that was not offered")
        except (struct.error, ValueError, IndexError):
            self.ended = Ended(INTERNAL, "a frame of the server is malformed")
        return messages

    def _go_on(self, data: bytes, messages: list[bytes]) -> int:
        """Takes what belongs to the frame of data that has begun. Returns where the next one begins."""
        size = min(self._left, len(data))
        self._left -= size
        self._messages.take(data, 0, size, messages)
        return size

    def _frames(self, data: bytes, position: int, messages: list[bytes]) -> int:
        """Returns where the first frame begins that is not complete."""
        end = len(data)
        while end - position >= 9 and self.ended is None:
            high, low, kind, flags, stream = _HEADER.unpack_from(data, position)
            if high or low > LARGEST_FRAME or not self.settled:
                self._check(data, kind, high << 16 | low)
            start, after = position + 9, position + 9 + low
            if kind == DATA and after > end and not flags & (PADDED | END_STREAM):
                # A large message: it is not kept until its frame is complete, which would copy it once more.
                self._count(low)
                self._messages.take(data, start, end, messages)
                self._left = after - end
                return end
            if after > end:
                break
            if kind == DATA:
                self._data(data, start, after, flags, messages)
            elif reader := _READERS.get(kind):
                reader(self, flags, stream, data[start:after])
            position = after
        return position

    def lost(self, why: str) -> Ended:
        """How the call ended, now that the connection is gone. why: what the network says, if it says anything."""
        if self.ended is None and not self.settled and self._rest.startswith(_TLS_ALERT):
            self.ended = Ended(UNAVAILABLE, "the server speaks TLS")
        if self.ended is None:
            closed = "the server closed the connection" + ("" if self.settled else " before it said anything")
            self.ended = Ended(UNAVAILABLE, self.leaving or why or closed)
        return self.ended

    def _check(self, data: bytes, kind: int, size: int) -> None:
        if not self.settled and kind != SETTINGS:
            if data.startswith(_TLS_ALERT):
                raise _Wrong("the server speaks TLS")
            line = data.partition(b"\r\n")[0].decode("ascii", "replace")
            raise _Wrong(f"the server does not speak HTTP/2; it says {line[:60]!r}")
        if size > LARGEST_FRAME:
            raise _Wrong(f"a frame has {size} bytes; {LARGEST_FRAME} are allowed")

    def _count(self, size: int) -> None:
        """Opens the windows again for what has come."""
        self._unreported += size
        if self._unreported >= STREAM_WINDOW // 2:
            increment = self._unreported.to_bytes(4, "big")
            self._out += frame(WINDOW_UPDATE, 0, STREAM, increment), frame(WINDOW_UPDATE, 0, 0, increment)
            self._unreported = 0

    def _data(self, data: bytes, start: int, after: int, flags: int, messages: list[bytes]) -> None:
        """A frame that is complete."""
        self._count(after - start)
        if flags & PADDED:
            after, start = after - data[start], start + 1
        self._messages.take(data, start, after, messages)
        if flags & END_STREAM:
            self._end({})

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if flags & PRIORITY:
            payload = payload[5:]
        self._block, self._last = b"", bool(flags & END_STREAM)
        self._continuation(flags, stream, payload)

    def _continuation(self, flags: int, stream: int, payload: bytes) -> None:
        self._block += payload
        if flags & END_HEADERS:
            self._fields()

    def _fields(self) -> None:
        self._decoder = self._decoder or Decoder()
        try:
            fields = {str(name): str(value) for name, value in self._decoder.decode(self._block)}
        except HPACKError:
            raise _Wrong("a header block cannot be read") from None
        if ":status" in fields:
            self._status = int(fields[":status"])
        if self._last:
            self._end(fields)

    def _end(self, fields: dict[str, str]) -> None:
        if "grpc-status" in fields:
            self.ended = Ended(int(fields["grpc-status"]), _unquoted(fields.get("grpc-message", "")))
        elif self._status != 200:
            self.ended = Ended(OF_HTTP.get(self._status, UNKNOWN), f"the server answers HTTP {self._status}, not gRPC")
        else:
            self.ended = Ended(UNKNOWN, "the stream ended without a gRPC status")

    def _reset(self, flags: int, stream: int, payload: bytes) -> None:
        code = int.from_bytes(payload, "big")
        self.ended = Ended(OF_RESET.get(code, INTERNAL), f"RST_STREAM {_name(code)}")

    def _goaway(self, flags: int, stream: int, payload: bytes) -> None:
        last, code = struct.unpack_from(">II", payload)
        said = payload[8:].decode("utf-8", "replace")
        self.leaving = f"GOAWAY {_name(code)}" + (f": {said}" if said else "")
        if last < STREAM:
            self.ended = Ended(UNAVAILABLE, self.leaving)

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        self.settled = True
        if flags & ACK:
            return
        for key, value in _SETTING.iter_unpack(payload):
            if key == INITIAL_WINDOW_SIZE:
                self._send_stream += value - self._initial_window
                self._initial_window = value
            elif key == MAX_FRAME_SIZE:
                self._largest = min(value, LARGEST_FRAME)
        self._out.append(frame(SETTINGS, ACK, 0))
        self._send_more()

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        if not flags & ACK:
            self._out.append(frame(PING, ACK, 0, payload))

    def _window(self, flags: int, stream: int, payload: bytes) -> None:
        more = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if stream:
            self._send_stream += more
        else:
            self._send_connection += more
        if self._unsent:
            self._send_more()

    def _push(self, flags: int, stream: int, payload: bytes) -> None:
        raise _Wrong("the server pushes, though that was forbidden")

    def _send_more(self) -> None:
        """Sends of what waits as much as the windows allow."""
        while self._unsent:
            size = min(len(self._unsent), self._largest, self._send_stream, self._send_connection)
            if size <= 0:
                return
            self._out.append(frame(DATA, 0, STREAM, bytes(self._unsent[:size])))
            del self._unsent[:size]
            self._send_stream -= size
            self._send_connection -= size


def _unquoted(text: str) -> str:
    """`grpc-message` is percent-encoded UTF-8."""
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())
    return raw.decode("utf-8", "replace")


def _name(code: int) -> str:
    return ERRORS[code] if code < len(ERRORS) else str(code)


_READERS: dict[int, Callable[[Call, int, int, bytes], None]] = {
    HEADERS: Call._headers,
    CONTINUATION: Call._continuation,
    RST_STREAM: Call._reset,
    SETTINGS: Call._settings,
    PUSH_PROMISE: Call._push,
    PING: Call._ping,
    GOAWAY: Call._goaway,
    WINDOW_UPDATE: Call._window,
}
"""Kind of frame -> who reads it. Other kinds must be passed over (RFC 9113, 5.5)."""
