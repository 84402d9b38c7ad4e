"""Protobuf's length-delimited fields, for messages that are joined from bytes instead of being built anew.

https://protobuf.dev/programming-guides/encoding/#length-types
"""

from __future__ import annotations

Parts = tuple[bytes, ...]


def start(number: int, size: int) -> bytes:
    """What a field begins with. size: bytes of its value."""
    return bytes([number << 3 | 2]) + _varint(size)


def field(number: int, parts: Parts) -> Parts:
    """A field whose value is in parts."""
    return (start(number, sum(map(len, parts))), *parts)


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)
