"""The messages in the body of a gRPC call, each behind its length (grpc/doc/PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import struct

PREFIX = struct.Struct(">BI")


class Compressed(Exception):
    """A message is compressed."""


class Messages:
    """Puts together what arrives in pieces. A piece is copied once, when its message is complete."""

    __slots__ = ("_missing", "_parts", "_prefix")

    def __init__(self) -> None:
        self._prefix = b""  # of the next message, as far as it has come
        self._parts: list[memoryview] = []
        self._missing = 0  # bytes of the message that the parts belong to

    def take(self, data: bytes, start: int, after: int, messages: list[bytes]) -> None:
        """Appends the messages that are complete with data[start:after]. Raises Compressed."""
        if self._missing:
            piece = min(self._missing, after - start)
            self._parts.append(memoryview(data)[start : start + piece])
            self._missing -= piece
            start += piece
            if self._missing:
                return
            messages.append(b"".join(self._parts))
            self._parts = []
        if self._prefix:
            data = self._prefix + data[start:after]
            start, after = 0, len(data)
        while after - start >= PREFIX.size:
            compressed, size = PREFIX.unpack_from(data, start)
            if compressed:
                raise Compressed
            start += PREFIX.size
            if after - start < size:
                self._prefix = b""
                self._parts = [memoryview(data)[start:after]]
                self._missing = size - (after - start)
                return
            messages.append(data[start : start + size])
            start += size
        self._prefix = data[start:after]
