"""The HTTP filters: which there are, and in which order a request meets them."""

from __future__ import annotations

from typing import Any, Protocol

from xds_server.envoy.filters import cors, fault, router
from xds_server.envoy.proto import packed
from xds_server.mesh.model import Route


class HttpFilter(Protocol):
    """A module of this package."""

    NAME: str

    def http_filter(self) -> Any:
        """The message that configures it in a listener. What a route asks of it comes with the route, so that a
        change of a route never changes a listener, which would drain its connections."""

    def per_route(self, route: Route) -> Any | None:
        """The message that configures it for one route, or None when the route says nothing about it."""


ORDER: tuple[HttpFilter, ...] = (
    fault,  # first: a fault stands for the whole service, so nothing else may answer before it
    cors,  # before everything that could refuse a preflight, which carries no credentials
    router,  # Envoy demands that the terminal filter is the last
)
"""One line per filter, with the reason for its place. It is Istio's order."""

GRPC_ORDER: tuple[HttpFilter, ...] = (
    fault,  # as above (gRFC A33)
    router,  # terminal (gRFC A39)
)
"""What a proxyless gRPC client knows; it refuses a listener with any other filter."""

GRPC_SERVER_ORDER: tuple[HttpFilter, ...] = (
    router,  # terminal; a server refuses faults (gRFC A33)
)
"""What an xDS-enabled gRPC server knows."""


def http_filters(order: tuple[HttpFilter, ...]) -> list[dict[str, Any]]:
    """The HttpFilters of a listener."""
    return [{"name": each.NAME, "typed_config": packed(each.http_filter())} for each in order]


def per_route(route: Route) -> dict[str, Any]:
    """The `typed_per_filter_config` of a route."""
    found = ((each.NAME, each.per_route(route)) for each in ORDER)
    return {name: packed(message) for name, message in found if message is not None}
