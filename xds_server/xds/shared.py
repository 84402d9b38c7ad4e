"""What streams that are alike share: a thousand equal proxies cost one computation and one copy of the bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from xds_server.memo import Generations
from xds_server.xds.intern import Intern
from xds_server.xds.request import Request

T = TypeVar("T")

_RESULTS = 4096  # more than two rounds of a large fleet need
_RESPONSES = 32 * 2**20  # bytes
_REQUESTS = 4 * 2**20  # bytes


class Shared(Generations):
    """A memo of pure functions, of requests, and of the responses with their nonces. It belongs to one event loop.

    A nonce is a serial number of the response, not of the stream: so equal responses are the same bytes on every
    stream, and so are their acknowledgements. A stream never sees the same nonce twice, because it only takes
    responses younger than its last one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.intern = Intern()
        self._responses: dict[tuple[Any, ...], tuple[int, bytes]] = {}
        self._response_bytes = 0
        self._requests: dict[tuple[Any, bytes], Request] = {}
        self._request_bytes = 0
        self._serial = 0

    def request(self, read: Callable[[bytes], Request], raw: bytes) -> Request:
        """`read(raw)`, which streams that are alike do not need again."""
        key = (read, raw)
        found = self._requests.get(key)
        if found is None:
            found = read(raw)
            self._request_bytes += len(raw)
            if self._request_bytes > _REQUESTS:
                self._requests.clear()
                self._request_bytes = len(raw)
            self._requests[key] = found
        return found

    def response(self, after: int, assemble: Callable[..., bytes], *content: object) -> tuple[int, bytes]:
        """The serial number of a response, above `after`, and its bytes: `assemble(nonce, *content)`."""
        key = (assemble, content)
        serial, data = self._responses.get(key, (0, b""))
        if serial <= after:
            self._serial = serial = max(self._serial, after) + 1
            data = assemble(str(serial), *content)
            self._response_bytes += len(data)
            if self._response_bytes > _RESPONSES:
                self._responses.clear()
                self._response_bytes = len(data)
            self._responses[key] = serial, data
        return serial, data

    def turn(self) -> dict[Any, Any]:
        """Forgets what the last two rounds of changes did not use, and returns it."""
        self._responses.clear()
        self._requests.clear()
        self._response_bytes = self._request_bytes = 0
        return super().turn()

    def _older(self, key: tuple[Callable[..., Any], tuple[object, ...]]) -> Any:
        if len(self._new) >= _RESULTS:
            self.turn()
        return super()._older(key)
