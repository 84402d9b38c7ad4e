"""Conditions of a VirtualService's HTTP routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from xds_server.diagnostics import Diagnostic, ObjectRef, Path, diagnostic
from xds_server.kube.istio import virtual_service as vs
from xds_server.mesh import checks
from xds_server.mesh.model import HeaderMatch, Match, QueryMatch, StringMatch, StringMatchKind

CLAIMS = "@request.auth.claims"
_EVERY_PATH = StringMatch(StringMatchKind.PREFIX, "/")


class StringMatchLike(Protocol):
    @property
    def exact(self) -> str | None: ...
    @property
    def prefix(self) -> str | None: ...
    @property
    def regex(self) -> str | None: ...


class Unusable(Exception):
    """A condition that no proxy can test; the route that has it must not match more than its author meant."""


def string_match(
    value: StringMatchLike, ref: ObjectRef, path: Path, notes: list[Diagnostic], ignore_case: bool = False
) -> StringMatch:
    """An empty match, and the expression `*`, mean that the value is present. Raises Unusable."""
    if value.exact is not None:
        return StringMatch(StringMatchKind.EXACT, value.exact, ignore_case)
    if value.prefix is not None:
        return StringMatch(StringMatchKind.PREFIX, value.prefix, ignore_case)
    if value.regex is None or value.regex == "*":
        return StringMatch(StringMatchKind.PRESENT)
    problem = checks.regex(value.regex)
    if problem:
        notes.append(diagnostic("XDS4004", ref, (*path, "regex"), value=value.regex, reason=problem))
        raise Unusable
    return StringMatch(StringMatchKind.REGEX, value.regex)


def http_match(match: vs.HTTPMatchRequest, ref: ObjectRef, path: Path, notes: list[Diagnostic]) -> Match:
    """Raises Unusable, with the reason in `notes`, when one of the conditions cannot be tested."""
    pseudo = ((":scheme", "scheme", match.scheme), (":method", "method", match.method))
    headers = [
        HeaderMatch(header, string_match(value, ref, (*path, field), notes))
        for header, field, value in (*pseudo, (":authority", "authority", match.authority))
        if value is not None
    ]
    headers += _headers(match.headers, ref, (*path, "headers"), notes, invert=False)
    headers += _headers(match.without_headers, ref, (*path, "withoutHeaders"), notes, invert=True)
    query = tuple(
        QueryMatch(name, string_match(value, ref, (*path, "queryParams", name), notes))
        for name, value in sorted(match.query_params.items())
    )
    return Match(_path(match, ref, path, notes), tuple(headers), query)


def _path(match: vs.HTTPMatchRequest, ref: ObjectRef, path: Path, notes: list[Diagnostic]) -> StringMatch:
    if match.uri is None:
        return _EVERY_PATH
    ignore_case = match.ignore_uri_case
    result = string_match(match.uri, ref, (*path, "uri"), notes, ignore_case)
    if result.kind is StringMatchKind.PRESENT:
        return _EVERY_PATH
    if result.kind is StringMatchKind.REGEX and ignore_case:
        notes.append(
            diagnostic(
                "XDS4009",
                ref,
                (*path, "ignoreUriCase"),
                field="ignoreUriCase",
                reason="on a regular expression; begin the expression with (?i)",
            )
        )
    return result


def _headers(
    conditions: Mapping[str, StringMatchLike], ref: ObjectRef, path: Path, notes: list[Diagnostic], *, invert: bool
) -> list[HeaderMatch]:
    result = []
    for name, value in sorted(conditions.items()):
        if name.startswith(CLAIMS):
            notes.append(diagnostic("XDS4010", ref, (*path, name)))
            raise Unusable
        result.append(HeaderMatch(name, string_match(value, ref, (*path, name), notes), invert))
    return result
