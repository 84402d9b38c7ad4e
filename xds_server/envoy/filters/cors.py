"""Answers CORS preflights, and adds CORS headers to responses."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.http.cors.v3 import cors_pb2

from xds_server.envoy.matchers import string
from xds_server.envoy.proto import wrapped
from xds_server.mesh.model import Route

NAME = "envoy.filters.http.cors"


def http_filter() -> Any:
    return cors_pb2.Cors()


def per_route(route: Route) -> Any | None:
    cors = route.cors
    if cors is None:
        return None
    return cors_pb2.CorsPolicy(
        allow_origin_string_match=[string(origin) for origin in cors.allow_origins],
        allow_methods=",".join(cors.allow_methods),
        allow_headers=",".join(cors.allow_headers),
        expose_headers=",".join(cors.expose_headers),
        max_age="" if cors.max_age is None else str(cors.max_age.nanoseconds // 10**9),
        allow_credentials=wrapped(cors.allow_credentials),
        filter_enabled={"default_value": {"numerator": 100}},
        forward_not_matching_preflights=wrapped(cors.forward_unmatched_preflights),
    )
