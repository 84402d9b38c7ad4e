"""The client's HTTP/2 against an independent server (h2), and frames made by hand."""

from __future__ import annotations

import struct
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from xds_server.loadtest import http2
from xds_server.loadtest.http2 import Call, Ended, frame, opening

OPENING = opening("http", "xds.example:15010", "/service/Method", "test")
SETTINGS = frame(http2.SETTINGS, 0, 0)
STATUS_200 = [(":status", "200"), ("content-type", "application/grpc")]


def grpc(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


def headers(fields: list[tuple[str, str]], last: bool = False) -> bytes:
    flags = http2.END_HEADERS | (http2.END_STREAM if last else 0)
    return frame(http2.HEADERS, flags, 1, Encoder().encode(fields))


def data(payload: bytes, flags: int = 0) -> bytes:
    return frame(http2.DATA, flags, 1, payload)


class Server:
    """h2 at the other end of a call."""

    def __init__(self, **settings: int) -> None:
        self.call = Call(OPENING)
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        if settings:
            codes = {getattr(h2.settings.SettingCodes, name): value for name, value in settings.items()}
            self.h2.update_settings(codes)
        self.headers: dict[str, str] = {}
        self.body = b""
        self.messages: list[bytes] = []

    def exchange(self, piece: int = 1 << 20) -> None:
        """Carries bytes both ways, at most `piece` at a time, until neither side has any."""
        while True:
            out = self.call.taken()
            for event in self.h2.receive_data(out):
                self._on(event)
            back = self.h2.data_to_send()
            for start in range(0, len(back), piece):
                self.messages += self.call.receive(back[start : start + piece])
            if not out and not back:
                return

    def respond(self) -> None:
        self.h2.send_headers(1, STATUS_200)

    def send(self, payload: bytes, frames: int, padding: int | None = None) -> None:
        for start in range(0, len(payload), frames):
            self.h2.send_data(1, payload[start : start + frames], pad_length=padding)
            self.exchange()

    def _on(self, event: Any) -> None:
        match event:
            case h2.events.RequestReceived():
                self.headers = dict(event.headers)
            case h2.events.DataReceived():
                self.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, 1)


def started(**settings: int) -> Server:
    server = Server(**settings)
    server.exchange()
    server.respond()
    server.exchange()
    return server


def test_the_request_is_a_call_of_grpc() -> None:
    server = started()
    assert server.headers == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/service/Method",
        ":authority": "xds.example:15010",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "test",
    }
    assert server.h2.remote_settings.initial_window_size == http2.STREAM_WINDOW
    assert server.h2.outbound_flow_control_window == http2.CONNECTION_WINDOW


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=600), max_size=6),
    st.integers(1, 1000),
    st.integers(1, 5000),
    st.one_of(st.none(), st.integers(0, 255)),
)
def test_messages_arrive_whole_however_they_are_cut(
    messages: list[bytes], frames: int, piece: int, padding: int | None
) -> None:
    server = started()
    body = b"".join(map(grpc, messages))
    for start in range(0, len(body), frames):
        server.h2.send_data(1, body[start : start + frames], pad_length=padding)
    server.exchange(piece)
    assert server.messages == messages
    assert server.call.ended is None


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200_000), max_size=5), st.sampled_from([1, 1000, 65_535, 1 << 20]))
def test_requests_wait_for_the_windows_of_the_server(messages: list[bytes], window: int) -> None:
    server = started(INITIAL_WINDOW_SIZE=window)
    for message in messages:
        server.call.send(message[:300] if window == 1 else message)
        server.exchange()
    assert server.body == b"".join(grpc(message[:300] if window == 1 else message) for message in messages)


def test_the_window_is_opened_again_for_as_long_as_messages_come() -> None:
    server = started()
    message = b"x" * 2**20
    for _ in range(40):  # more than the window of the connection
        server.send(grpc(message), 16_000, padding=3)
    assert [len(got) for got in server.messages] == [2**20] * 40


def test_pings_and_settings_are_acknowledged() -> None:
    server = started()
    server.h2.ping(b"12345678")
    server.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 7})
    assert server.call.receive(server.h2.data_to_send()) == []
    events = server.h2.receive_data(server.call.taken())
    assert [type(event).__name__ for event in events] == ["PingAckReceived", "SettingsAcknowledged"]


ENDS = {
    "trailers": (
        headers(STATUS_200) + headers([("grpc-status", "14"), ("grpc-message", "busy: 50%25 %C3%A9t%C3%A9")], True),
        Ended(14, "busy: 50% été"),
    ),
    "only trailers": (headers([*STATUS_200, ("grpc-status", "16")], True), Ended(16, "")),
    "no error": (headers(STATUS_200) + headers([("grpc-status", "0")], True), Ended(0, "")),
    "data without trailers": (
        headers(STATUS_200) + data(b"", http2.END_STREAM),
        Ended(2, "the stream ended without a gRPC status"),
    ),
    "something that is not gRPC": (
        headers([(":status", "503")]) + data(b"busy", http2.END_STREAM),
        Ended(14, "the server answers HTTP 503, not gRPC"),
    ),
    "a reset": (
        headers(STATUS_200) + frame(http2.RST_STREAM, 0, 1, b"\0\0\0\x07"),
        Ended(14, "RST_STREAM REFUSED_STREAM"),
    ),
    "a GOAWAY that refuses the call": (
        frame(http2.GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x0btoo_many_pings"),
        Ended(14, "GOAWAY ENHANCE_YOUR_CALM: too_many_pings"),
    ),
    "a push": (frame(http2.PUSH_PROMISE, 0, 1, b"\0\0\0\2"), Ended(13, "the server pushes, though that was forbidden")),
    "a compressed message": (
        headers(STATUS_200) + data(b"\1\0\0\0\1x"),
        Ended(13, "a message is compressed, though that was not offered"),
    ),
    "a frame that is too large": (data(b"x" * 16_385), Ended(13, "a frame has 16385 bytes; 16384 are allowed")),
    "a frame that is cut": (frame(http2.GOAWAY, 0, 0, b"\0"), Ended(13, "a frame of the server is malformed")),
    "a header block that is none": (
        frame(http2.HEADERS, http2.END_HEADERS, 1, b"\xff\xff\xff"),
        Ended(13, "a header block cannot be read"),
    ),
}


@pytest.mark.parametrize(("sent", "ended"), ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_call_ends_with(sent: bytes, ended: Ended, piece: int) -> None:
    call = Call(OPENING)
    whole = SETTINGS + sent
    for start in range(0, len(whole), piece):
        assert call.receive(whole[start : start + piece]) == []
    assert call.ended == ended
    assert call.lost("reset") == ended


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_headers_may_go_on_in_the_next_frames(piece: int) -> None:
    block = Encoder().encode([*STATUS_200, ("grpc-status", "7"), ("grpc-message", "no")])
    padded = bytes([2]) + bytes(5) + block[:4] + bytes(2)
    flags = http2.PADDED | http2.PRIORITY | http2.END_STREAM
    whole = (
        SETTINGS
        + frame(http2.HEADERS, flags, 1, padded)
        + frame(http2.CONTINUATION, 0, 1, block[4:9])
        + frame(http2.CONTINUATION, http2.END_HEADERS, 1, block[9:])
    )
    call = Call(OPENING)
    for start in range(0, len(whole), piece):
        call.receive(whole[start : start + piece])
    assert call.ended == Ended(7, "no")


STRANGERS = {
    "HTTP/1.1": (
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        "the server does not speak HTTP/2; it says 'HTTP/1.1 400 Bad Request'",
    ),
    "TLS": (b"\x15\x03\x03\x00\x02\x02\x46", "the server speaks TLS"),
    "nothing": (b"", "the server closed the connection before it said anything"),
    "HTTP/2, and then nothing": (SETTINGS, "the server closed the connection"),
    "GOAWAY, and the end": (SETTINGS + frame(http2.GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0bye"), "GOAWAY NO_ERROR: bye"),
}


@pytest.mark.parametrize(("said", "words"), STRANGERS.values(), ids=STRANGERS.keys())
def test_a_server_that_says(said: bytes, words: str) -> None:
    call = Call(OPENING)
    call.receive(said)
    assert call.lost("").text == words


def test_frames_of_an_unknown_kind_are_passed_over() -> None:
    call = Call(OPENING)
    assert call.receive(SETTINGS + frame(0xFA, 0xFF, 3, b"grease") + headers(STATUS_200) + data(grpc(b"m"))) == [b"m"]
