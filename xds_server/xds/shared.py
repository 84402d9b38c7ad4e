"""What streams that are alike share: a thousand equal proxies cost one computation and one copy of the bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from xds_server.memo import Generations

R = TypeVar("R")
T = TypeVar("T")

_CALLS = 4096  # more distinct results than two rounds of a large fleet need
_BYTES = 32 * 2**20


class Shared:
    """A memo of pure functions, and of the responses with their nonces. It belongs to one event loop.

    A nonce is a serial number of the response, not of the stream: so equal responses are the same bytes on every
    stream. A stream never sees the same nonce twice, because it only takes responses younger than its last one.
    """

    def __init__(self) -> None:
        self._results = Generations()
        self._calls = 0
        self._responses: dict[tuple[Any, ...], tuple[int, bytes]] = {}
        self._bytes = 0
        self._serial = 0

    def __call__(self, function: Callable[..., R], /, *args: object) -> R:
        self._calls += 1
        if self._calls > _CALLS:
            self.turn()
        return self._results(function, *args)

    def response(self, after: int, assemble: Callable[..., bytes], *content: object) -> tuple[int, bytes]:
        """The serial number of a response, above `after`, and its bytes: `assemble(nonce, *content)`."""
        key = (assemble, content)
        serial, data = self._responses.get(key, (0, b""))
        if serial <= after:
            self._serial = serial = max(self._serial, after) + 1
            data = assemble(str(serial), *content)
            self._bytes += len(data)
            if self._bytes > _BYTES:
                self._responses.clear()
                self._bytes = len(data)
            self._responses[key] = serial, data
        return serial, data

    def same(self, value: T) -> T:
        """An equal value seen before, or this one: what was computed for one then serves all."""
        found: T = self(_itself, value)
        return found

    def turn(self) -> None:
        """Forgets what the last two rounds of changes did not use."""
        self._results.turn()
        self._responses.clear()
        self._calls = self._bytes = 0


def _itself(value: Any) -> Any:
    return value
