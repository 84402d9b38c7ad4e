"""Reads responses, each content once: servers send the same to many streams, with a nonce of its own for each."""

from __future__ import annotations

import msgspec
from google.protobuf.message import DecodeError

from xds_server.loadtest.variants import Response, Variant

_PREFIX = 48  # bytes that find a content: the version and the first name are in them
_SAME_PREFIX = 8
_REMEMBERED = 64 * 2**20  # bytes
_NONCE = 5 << 3 | 2
"""The field of the nonce, in the responses of both variants."""


class Unreadable(Exception):
    """What came is no response."""


class _Seen(msgspec.Struct, frozen=True, eq=False):
    """A response that was read: its bytes before and behind the field of the nonce."""

    before: bytes
    behind: bytes
    response: Response


class Reader:
    """Bytes -> (response, nonce). The same content gives the same object, without being decoded again."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant
        self._seen: dict[bytes, list[_Seen]] = {}
        self._size = 0

    def read(self, raw: bytes) -> tuple[Response, str]:
        """Raises Unreadable."""
        known = self._seen.get(raw[:_PREFIX])
        for seen in known or ():
            start, end = len(seen.before), len(raw) - len(seen.behind)
            # A field of less than 128 bytes and nothing else must be between the two.
            if (
                end - start >= 2
                and raw[start] == _NONCE
                and raw[start + 1] == end - start - 2 < 128
                and raw.startswith(seen.before)
                and raw.endswith(seen.behind)
            ):
                return seen.response, raw[start + 2 : end].decode()
        return self._read(raw)

    def _read(self, raw: bytes) -> tuple[Response, str]:
        try:
            message = self._variant.response.FromString(raw)
            response = self._variant.read(message)
        except DecodeError:
            raise Unreadable from None
        nonce = message.nonce.encode()
        field = bytes([_NONCE, len(nonce)]) + nonce if 0 < len(nonce) < 128 else b""
        start = raw.rfind(field) if field else -1
        if start >= 0:
            before, behind = raw[:start], raw[start + len(field) :]
            if self._is_nonce(before, behind):
                self._remember(raw[:_PREFIX], _Seen(before, behind, response))
        return response, message.nonce

    def _is_nonce(self, before: bytes, behind: bytes) -> bool:
        """Whether what was between the two was the nonce, and not part of a text that looks like it."""
        try:
            return not self._variant.response.FromString(before + behind).nonce
        except DecodeError:
            return False

    def _remember(self, prefix: bytes, seen: _Seen) -> None:
        """Drops the oldest where there is too much."""
        before = self._seen.get(prefix, [])
        self._size += _size([seen]) - _size(before[_SAME_PREFIX - 1 :])
        self._seen[prefix] = [seen, *before[: _SAME_PREFIX - 1]]
        while self._size > _REMEMBERED:
            self._size -= _size(self._seen.pop(next(iter(self._seen))))


def _size(contents: list[_Seen]) -> int:
    return sum(len(seen.before) + len(seen.behind) for seen in contents)
