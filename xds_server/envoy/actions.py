"""What is done with a request that matched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.retry.priority.previous_priorities.v3 import previous_priorities_config_pb2

from xds_server.envoy import headers, paths
from xds_server.envoy.proto import duration, fraction, packed, wrapped
from xds_server.kube.units import Duration
from xds_server.mesh.model import Destination, Forward, HashKey, Mirror, Redirect, Respond, Retry, StringMatch

_NO_LIMIT = Duration(0)

_REDIRECT_CODES: Mapping[int, str] = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}


def backends(action: Forward) -> Iterator[str]:
    """The clusters that it names."""
    for destination in live(action.destinations):
        yield destination.backend
    for mirror in _live_mirrors(action):
        yield mirror.backend


def live(destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
    """Those that get any traffic. Raises ValueError when none does: Envoy refuses weights that sum to 0."""
    used = tuple(destination for destination in destinations if destination.weight)
    if not used:
        raise ValueError("a route forwards to no destination with a weight")
    return used


def _live_mirrors(action: Forward) -> tuple[Mirror, ...]:
    return tuple(mirror for mirror in action.mirrors if mirror.percent)


def forward(action: Forward, path: StringMatch, in_client: bool) -> dict[str, Any]:
    """A RouteAction. path: what the route matches."""
    timeout = duration(action.timeout or _NO_LIMIT)
    # A gRPC client knows the second only (gRFC A31). Envoy, where it is there, does not look at the first any more:
    # `timeout` would end nothing (RouteEntry::usingNewTimeouts in source/common/router/router.cc).
    limit = {"max_stream_duration": {"grpc_timeout_header_max": timeout}} if in_client else {"timeout": timeout}
    return {
        **_clusters(live(action.destinations)),
        **limit,
        "retry_policy": _retry_policy(action.retry),
        **(paths.rewrite(action.rewrite, path) if action.rewrite else {}),
        "request_mirror_policies": [_mirror(mirror) for mirror in _live_mirrors(action)],
        "hash_policy": [hash_policy(key) for key in action.hash_keys],
    }


def _clusters(destinations: tuple[Destination, ...]) -> dict[str, Any]:
    first = destinations[0]
    if len(destinations) == 1 and first == Destination(first.backend, first.weight):
        return {"cluster": first.backend}
    return {"weighted_clusters": {"clusters": [_weighted(destination) for destination in destinations]}}


def _weighted(destination: Destination) -> dict[str, Any]:
    return {
        "name": destination.backend,
        "weight": wrapped(destination.weight),
        **headers.edits(destination.request_headers, destination.response_headers),
        "host_rewrite_literal": destination.host_rewrite or None,
    }


def _mirror(mirror: Mirror) -> dict[str, Any]:
    # The copy is no hop of the request's own trace.
    return {
        "cluster": mirror.backend,
        "runtime_fraction": {"default_value": fraction(mirror.percent)},
        "trace_sampled": {"value": False},
    }


def _retry_policy(retry: Retry | None) -> dict[str, Any] | None:
    if retry is None or not retry.attempts:
        return None
    by_code = ("retriable-status-codes",) if retry.status_codes else ()
    return {
        "retry_on": ",".join(dict.fromkeys((*retry.on, *by_code))),
        "num_retries": wrapped(retry.attempts),
        "retriable_status_codes": retry.status_codes,
        "per_try_timeout": duration(retry.per_try_timeout),
        "retry_back_off": retry.backoff and {"base_interval": duration(retry.backoff)},
        **(_AVOID_PREVIOUS_HOSTS if retry.avoid_previous_hosts else {}),
        **(_OTHER_LOCALITIES if retry.other_localities else {}),
    }


_AVOID_PREVIOUS_HOSTS: Mapping[str, Any] = {
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": packed(previous_hosts_pb2.PreviousHostsPredicate()),
        }
    ],
    "host_selection_retry_max_attempts": 5,
}

_OTHER_LOCALITIES: Mapping[str, Any] = {
    "retry_priority": {
        "name": "envoy.retry_priorities.previous_priorities",
        "typed_config": packed(previous_priorities_config_pb2.PreviousPrioritiesConfig(update_frequency=2)),
    }
}


def hash_policy(key: HashKey) -> dict[str, Any]:
    """A HashPolicy of a route."""
    if key.header:
        return {"header": {"header_name": key.header}}
    if key.query_parameter:
        return {"query_parameter": {"name": key.query_parameter}}
    if key.cookie:
        attributes = [{"name": name, "value": value} for name, value in key.cookie_attributes]
        # Without a time to live Envoy makes no cookie and only reads the client's; 0 makes one for the session.
        ttl = duration(key.cookie_ttl)
        return {"cookie": {"name": key.cookie, "path": key.cookie_path, "ttl": ttl, "attributes": attributes}}
    return {"connection_properties": {"source_ip": key.source_ip}}


def redirect(action: Redirect, path: StringMatch) -> dict[str, Any]:
    """A RedirectAction. path: what the route matches."""
    prefix = paths.replace_prefix(action.prefix, path) if action.prefix else {}
    return {
        "response_code": _REDIRECT_CODES[action.code],
        "scheme_redirect": action.scheme or None,
        "host_redirect": action.host,
        "port_redirect": action.port,
        **({"path_redirect": action.path} if action.path else prefix),
    }


def respond(action: Respond) -> dict[str, Any]:
    """A DirectResponseAction."""
    return {"status": action.status, "body": {"inline_bytes": action.body} if action.body else None}
