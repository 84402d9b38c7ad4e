"""Changes to headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xds_server.mesh.model import HeaderEdits

_NOTHING = HeaderEdits()


def edits(request: HeaderEdits, response: HeaderEdits) -> dict[str, Any]:
    """The four fields that routes and weighted clusters have for it."""
    if request == _NOTHING and response == _NOTHING:
        return {}
    return {
        "request_headers_to_add": list(_values(request)),
        "request_headers_to_remove": request.remove,
        "response_headers_to_add": list(_values(response)),
        "response_headers_to_remove": response.remove,
    }


def _values(headers: HeaderEdits) -> Iterator[dict[str, Any]]:
    for action, pairs in (("OVERWRITE_IF_EXISTS_OR_ADD", headers.set), ("APPEND_IF_EXISTS_OR_ADD", headers.add)):
        for key, value in pairs:
            # Envoy would leave out a header without a value, and keep the old one.
            keep = not value
            yield {"header": {"key": key, "value": value}, "append_action": action, "keep_empty_value": keep}
