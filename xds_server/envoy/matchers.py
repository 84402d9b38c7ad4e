"""What a request must be like: strings, headers, query parameters, paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xds_server.mesh.model import HeaderMatch, Match, QueryMatch, StringMatch, StringMatchKind


def regex(match: StringMatch) -> str:
    """RE2. Envoy has no switch for the case of a regex."""
    return f"(?i){match.value}" if match.ignore_case else match.value


def string(match: StringMatch) -> dict[str, Any]:
    """A StringMatcher. PRESENT is any value, the empty one too."""
    if _is_present(match):
        return {"safe_regex": {"regex": ".*"}}
    if match.kind is StringMatchKind.REGEX:
        return {"safe_regex": {"regex": regex(match)}}
    name = {StringMatchKind.EXACT: "exact", StringMatchKind.PREFIX: "prefix"}[match.kind]
    return {name: match.value, "ignore_case": match.ignore_case}


def _is_present(match: StringMatch) -> bool:
    # Every value starts with nothing, and Envoy refuses an empty prefix.
    return match.kind is StringMatchKind.PRESENT or (match.kind is StringMatchKind.PREFIX and not match.value)


def header(match: HeaderMatch) -> dict[str, Any]:
    """A HeaderMatcher."""
    if _is_present(match.match):
        return {"name": match.name, "present_match": True, "invert_match": match.invert}
    return {
        "name": match.name,
        "string_match": string(match.match),
        "invert_match": match.invert,
        # Else a request without the header would never match, not even inverted.
        "treat_missing_header_as_empty": match.invert,
    }


def query(match: QueryMatch) -> dict[str, Any]:
    """A QueryParameterMatcher."""
    if _is_present(match.match):
        return {"name": match.name, "present_match": True}
    return {"name": match.name, "string_match": string(match.match)}


def _exact(path: StringMatch) -> dict[str, Any]:
    return {"path": path.value}


def _prefix(path: StringMatch) -> dict[str, Any]:
    return {"prefix": path.value}


def _path_prefix(path: StringMatch) -> dict[str, Any]:
    segments = path_segments(path)
    return {"path_separated_prefix": segments} if segments else {"prefix": "/"}


def _regex(path: StringMatch) -> dict[str, Any]:
    return {"safe_regex": {"regex": regex(path)}}


_PATHS: Mapping[StringMatchKind, Callable[[StringMatch], dict[str, Any]]] = {
    StringMatchKind.EXACT: _exact,
    StringMatchKind.PREFIX: _prefix,
    StringMatchKind.PATH_PREFIX: _path_prefix,
    StringMatchKind.REGEX: _regex,
}


def path_segments(path: StringMatch) -> str:
    """The prefix without its last slash, which Envoy does not allow: `/a/` is the same as `/a`, `/` is ``."""
    return path.value.rstrip("/")


def match(value: Match) -> dict[str, Any]:
    """A RouteMatch. All of it must hold."""
    return {
        **_PATHS[value.path.kind](value.path),
        "case_sensitive": {"value": False} if value.path.ignore_case else None,
        "headers": [header(item) for item in value.headers],
        "query_parameters": [query(item) for item in value.query],
    }
