"""Header operations of a VirtualService, and fault injection and CORS, which are values of their own."""

from __future__ import annotations

import re

import msgspec

from xds_server.diagnostics import Diagnostic, ObjectRef, Path, diagnostic
from xds_server.kube.istio import virtual_service as vs
from xds_server.mesh import checks
from xds_server.mesh.header_format import header_value
from xds_server.mesh.model import Cors, Fault, HeaderEdits, StringMatch, StringMatchKind
from xds_server.mesh.routes.matches import Unusable, string_match

# https://grpc.github.io/grpc/core/md_doc_statuscodes.html
_GRPC_STATUS = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]


class Edits(msgspec.Struct, frozen=True):
    """host: what `set` says of the Host header, which routes rewrite instead of setting."""

    request: HeaderEdits = HeaderEdits()
    response: HeaderEdits = HeaderEdits()
    host: str = ""


def header_edits(headers: vs.Headers | None, ref: ObjectRef, path: Path, notes: list[Diagnostic]) -> Edits:
    if headers is None:
        return Edits()
    request, host = _operations(headers.request, ref, (*path, "request"), notes)
    response, _ = _operations(headers.response, ref, (*path, "response"), notes)
    return Edits(request, response, host)


def _operations(
    operations: vs.HeaderOperations | None, ref: ObjectRef, path: Path, notes: list[Diagnostic]
) -> tuple[HeaderEdits, str]:
    if operations is None:
        return HeaderEdits(), ""
    host = ""
    kept: dict[str, list[tuple[str, str]]] = {"set": [], "add": []}
    for field, values in (("set", operations.set), ("add", operations.add)):
        for name, value in sorted(values.items()):
            if name.lower() in ("host", ":authority") and field == "set" and path[-1] == "request":
                host = value
                continue
            problem = checks.header_name(name) or header_value(value)
            if problem:
                shown = name if checks.header_name(name) else value
                notes.append(diagnostic("XDS4011", ref, (*path, field, name), value=shown, reason=problem))
            else:
                kept[field].append((name, value))
    removed = []
    for index, name in enumerate(operations.remove):
        problem = checks.header_name(name)
        if problem:
            notes.append(diagnostic("XDS4011", ref, (*path, "remove", index), value=name, reason=problem))
        else:
            removed.append(name)
    return HeaderEdits(tuple(kept["set"]), tuple(kept["add"]), tuple(removed)), host


def fault(injection: vs.HTTPFaultInjection | None, ref: ObjectRef, path: Path, notes: list[Diagnostic]) -> Fault | None:
    if injection is None:
        return None
    delay, abort = injection.delay, injection.abort
    delay_percent = abort_percent = 0.0
    if delay is not None:
        delay_percent = delay.percentage.value if delay.percentage else float(delay.percent or 0)
        if delay.fixed_delay is None or not delay_percent:
            notes.append(_no_fault(ref, (*path, "delay"), "delay", "fixedDelay"))
    if abort is not None:
        abort_percent = abort.percentage.value if abort.percentage else 0.0
        if (abort.http_status is None and abort.grpc_status is None) or not abort_percent:
            notes.append(_no_fault(ref, (*path, "abort"), "abort", "httpStatus or grpcStatus"))
    result = Fault(
        delay=delay.fixed_delay if delay and delay_percent else None,
        delay_percent=delay_percent,
        http_status=abort.http_status if abort and abort_percent else None,
        grpc_status=_grpc_status(abort, ref, path, notes) if abort_percent else None,
        abort_percent=abort_percent,
    )
    acts = result.delay is not None or result.http_status is not None or result.grpc_status is not None
    return result if acts else None


def _no_fault(ref: ObjectRef, path: Path, field: str, needed: str) -> Diagnostic:
    return diagnostic("XDS4009", ref, path, field=field, reason=f"without {needed} and a percentage above 0")


def _grpc_status(abort: vs.Abort | None, ref: ObjectRef, path: Path, notes: list[Diagnostic]) -> int | None:
    text = (abort.grpc_status or "") if abort else ""
    if not text:
        return None
    if text.upper() in _GRPC_STATUS:
        return _GRPC_STATUS.index(text.upper())
    if text.isdecimal() and int(text) < len(_GRPC_STATUS):
        return int(text)
    reason = "is not a status code of gRPC"
    notes.append(diagnostic("XDS4011", ref, (*path, "abort", "grpcStatus"), value=text, reason=reason))
    return None


def cors(policy: vs.CorsPolicy | None, ref: ObjectRef, path: Path, notes: list[Diagnostic]) -> Cors | None:
    if policy is None:
        return None
    origins = []
    for index, value in enumerate(policy.allow_origins):
        try:
            match = string_match(value, ref, (*path, "allowOrigins", index), notes)
        except Unusable:
            continue
        origins.append(match if match.kind is not StringMatchKind.PRESENT else StringMatch(StringMatchKind.EXACT, "*"))
    origins += [StringMatch(StringMatchKind.EXACT, origin) for origin in policy.allow_origin]
    return Cors(
        allow_origins=tuple(origins),
        allow_methods=policy.allow_methods,
        allow_headers=policy.allow_headers,
        expose_headers=policy.expose_headers,
        max_age=policy.max_age,
        allow_credentials=policy.allow_credentials,
        forward_unmatched_preflights=policy.unmatched_preflights != "IGNORE",
    )


_ANCHORS = re.compile(r"\\(\d)")


def substitution_problem(text: str, pattern: str) -> str | None:
    """Envoy takes a group that the pattern does not have in silence, and then rewrites nothing."""
    groups = max((int(number) for number in _ANCHORS.findall(text)), default=0)
    if groups > checks.groups(pattern):
        return f"refers to the group \\{groups}, which {pattern!r} does not have"
    return None
