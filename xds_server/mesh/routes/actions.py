"""What a VirtualService's HTTP routes do with a request."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xds_server.diagnostics import Diagnostic, ObjectRef, Path, diagnostic
from xds_server.kube.istio import virtual_service as vs
from xds_server.mesh import checks
from xds_server.mesh.model import Destination, Forward, HashKey, Mirror, Redirect, Respond, Retry, Rewrite
from xds_server.mesh.names import MESH_REF
from xds_server.mesh.routes.delegates import Written
from xds_server.mesh.routes.headers import Edits, header_edits, substitution_problem
from xds_server.mesh.routes.targets import Resolver
from xds_server.mesh.routes.weights import weight_notes

BROKEN = Respond(500, b"this route is not valid; see the diagnostics of the control plane\n")
"""The answer of a route that cannot be built. It must not fall through to one that is less strict."""

DEFAULT_RETRY = Retry(2, ("connect-failure", "refused-stream", "reset-before-request"))
"""Unlike Istio's, it never repeats a request that a server may have begun to process (istio#13851, #27340)."""

_ISTIO_RETRY_ON = ("connect-failure", "refused-stream", "unavailable", "cancelled")
_PORT_OF_SCHEME = {"http": 80, "https": 443}

# https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/router_filter#x-envoy-retry-on
_RETRY_ON = frozenset(
    [
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "envoy-ratelimited",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    ]
)


def redirect(value: vs.HTTPRedirect, port: int) -> Redirect:
    """port: the listener's, which `derivePort: FROM_REQUEST_PORT` keeps."""
    target_port = value.port or (port if value.derive_port == "FROM_REQUEST_PORT" else None)
    if target_port is not None and target_port == _PORT_OF_SCHEME.get(value.scheme):
        target_port = None
    return Redirect(
        code=value.redirect_code or 301,
        scheme=value.scheme,
        host=value.authority,
        port=target_port,
        path=value.uri,
        prefix=value.prefix_rewrite,
    )


def respond(value: vs.HTTPDirectResponse, ref: ObjectRef, path: Path, notes: list[Diagnostic]) -> Respond:
    body = b""
    if value.body is not None:
        body = value.body.bytes_ or b"" if value.body.string is None else value.body.string.encode()
    if len(body) > checks.MAX_BODY_BYTES:
        detail = f"the body has {len(body)} bytes; the limit is {checks.MAX_BODY_BYTES}"
        notes.append(diagnostic("XDS4005", ref, (*path, "body"), detail=detail))
        return BROKEN
    return Respond(value.status, body)


def unused(entry: Written) -> list[Diagnostic]:
    """Fields that mean nothing beside the others."""
    route = entry.route
    notes: list[Diagnostic] = []
    forwarding: list[tuple[str, object]] = [
        ("route", route.route),
        ("rewrite", route.rewrite),
        ("timeout", route.timeout),
        ("retries", route.retries),
        ("mirror", route.mirror),
        ("mirrors", route.mirrors),
    ]
    answers = [("redirect", route.redirect), ("directResponse", route.direct_response)]
    given = [field for field, value in answers if value is not None]
    if given:
        written = [field for field, value in forwarding if value] + given[1:]
        # What comes from the root of a delegate is meant for those routes for which it can mean something.
        own = [f for f in written if entry.place("mirror" if f == "mirrors" else f) == (entry.ref, entry.path)]
        notes += [_no_effect(entry, (field,), f"beside a {given[0]}") for field in own]
    if route.redirect is not None and route.redirect.uri and route.redirect.prefix_rewrite:
        notes.append(_no_effect(entry, ("redirect", "prefixRewrite"), "beside uri"))
    if route.rewrite is not None and route.rewrite.uri_regex_rewrite is not None and route.rewrite.uri:
        notes.append(_no_effect(entry, ("rewrite", "uri"), "beside uriRegexRewrite"))
    if route.mirror is None:
        percents: list[tuple[str, object]] = [
            ("mirrorPercentage", route.mirror_percentage),
            ("mirrorPercent", route.mirror_percent),
            ("mirror_percent", route.mirror_percent_old),
        ]
        notes += [_no_effect(entry, (field,), "without mirror") for field, value in percents if value is not None]
    return notes


def _no_effect(entry: Written, steps: tuple[str, ...], reason: str) -> Diagnostic:
    ref, path = entry.place(steps[0])
    return diagnostic("XDS4009", ref, (*path, *steps), field=".".join(steps), reason=reason)


def forward(
    entry: Written, edits: Edits, resolver: Resolver, default_retries: vs.HTTPRetry | None = None
) -> Forward | Respond:
    """default_retries: the mesh's, for a route that says nothing about them."""
    route, ref, path = entry.route, entry.ref, entry.path
    destinations, hash_keys = _destinations(route.route, ref, (*path, "route"), resolver)
    resolver.notes += weight_notes([each.weight for each in route.route], ref, (*path, "route"))
    if not destinations:
        detail = "the weights of its destinations add up to 0"
        resolver.notes.append(diagnostic("XDS4005", ref, (*path, "route"), detail=detail))
        return BROKEN
    retry_ref, retry_path = entry.place("retries")
    rewrite_ref, rewrite_path = entry.place("rewrite")
    mirror_ref, mirror_path = entry.place("mirror")
    return Forward(
        destinations=destinations,
        timeout=route.timeout,
        retry=mesh_retry(default_retries, bool(hash_keys))
        if route.retries is None
        else retry(route.retries, retry_ref, (*retry_path, "retries"), bool(hash_keys), resolver.notes),
        rewrite=_rewrite(route.rewrite, edits.host, rewrite_ref, (*rewrite_path, "rewrite"), resolver.notes),
        mirrors=_mirrors(route, mirror_path, resolver.of(mirror_ref)),
        hash_keys=hash_keys,
    )


def _destinations(
    weighted: Iterable[vs.HTTPRouteDestination], ref: ObjectRef, path: Path, resolver: Resolver
) -> tuple[tuple[Destination, ...], tuple[HashKey, ...]]:
    entries = list(enumerate(weighted))
    result, hash_keys = [], []
    for index, entry in entries:
        backend, key = resolver.backend(entry.destination, (*path, index, "destination"))
        edits = header_edits(entry.headers, ref, (*path, index, "headers"), resolver.notes)
        weight = 1 if len(entries) == 1 else entry.weight
        if weight > 0:
            result.append(Destination(backend, weight, edits.request, edits.response, edits.host))
            hash_keys += [key] if key else []
    return tuple(result), tuple(dict.fromkeys(hash_keys))


def mesh_retry(retries: vs.HTTPRetry | None, hashed: bool) -> Retry | None:
    """What holds where nothing is said: the mesh's `defaultHttpRetryPolicy`, or ours."""
    return retry(retries, MESH_REF, (), hashed, [])


def retry(
    retries: vs.HTTPRetry | None, ref: ObjectRef, path: Path, hashed: bool, notes: list[Diagnostic]
) -> Retry | None:
    """hashed: requests with the same key must meet the same host again, so a retry may not avoid it."""
    if retries is None:
        return Retry(DEFAULT_RETRY.attempts, DEFAULT_RETRY.on, avoid_previous_hosts=not hashed)
    if retries.attempts == 0:
        return None
    conditions, codes = [], []
    for token in (part.strip() for part in retries.retry_on.split(",") if part.strip()):
        if re.fullmatch(r"[1-5]\d\d", token):
            codes.append(int(token))
        elif token in _RETRY_ON:
            conditions.append(token)
        else:
            reason = "is no retry condition that Envoy knows"
            notes.append(diagnostic("XDS4011", ref, (*path, "retryOn"), value=token, reason=reason))
    if codes and "retriable-status-codes" not in conditions:
        conditions.append("retriable-status-codes")
    backoff = retries.backoff if retries.backoff and retries.backoff.nanoseconds >= 10**6 else None
    avoid = retries.retry_ignore_previous_hosts
    return Retry(
        attempts=2 if retries.attempts is None else retries.attempts,
        on=tuple(conditions) or _ISTIO_RETRY_ON,
        status_codes=tuple(sorted(set(codes))),
        per_try_timeout=retries.per_try_timeout,
        backoff=backoff,
        avoid_previous_hosts=not hashed if avoid is None else avoid,
        other_localities=bool(retries.retry_remote_localities),
    )


def _rewrite(
    value: vs.HTTPRewrite | None, host: str, ref: ObjectRef, path: Path, notes: list[Diagnostic]
) -> Rewrite | None:
    if value is None:
        return Rewrite(host=host) if host else None
    regex = value.uri_regex_rewrite
    host = value.authority or host
    if regex is None:
        return Rewrite(prefix=value.uri or None, host=host)
    for field, text in (("match", regex.match), ("rewrite", regex.rewrite)):
        problem = checks.regex(text) if field == "match" else substitution_problem(text, regex.match)
        if problem:
            where = (*path, "uriRegexRewrite", field)
            notes.append(diagnostic("XDS4011", ref, where, value=text, reason=problem))
            return Rewrite(host=host) if host else None
    return Rewrite(regex=regex.match, substitution=regex.rewrite, host=host)


def _mirrors(route: vs.HTTPRoute, path: Path, resolver: Resolver) -> tuple[Mirror, ...]:
    result = []
    if route.mirror is not None:
        percent = 100.0
        if route.mirror_percentage is not None:
            percent = route.mirror_percentage.value
        elif route.mirror_percent is not None or route.mirror_percent_old is not None:
            percent = float(route.mirror_percent or route.mirror_percent_old or 0)
        result.append(Mirror(resolver.backend(route.mirror, (*path, "mirror"))[0], percent))
    for index, mirror in enumerate(route.mirrors):
        percent = 100.0 if mirror.percentage is None else mirror.percentage.value
        where = (*path, "mirrors", index, "destination")
        result.append(Mirror(resolver.backend(mirror.destination, where)[0], percent))
    return tuple(mirror for mirror in result if mirror.percent > 0)
