"""New paths for old ones: rewrites before a request is passed on, and redirects."""

from __future__ import annotations

import re
from typing import Any

from xds_server.envoy.matchers import path_segments
from xds_server.mesh.model import Rewrite, StringMatch, StringMatchKind


def rewrite(value: Rewrite, match: StringMatch) -> dict[str, Any]:
    """The fields of a RouteAction."""
    fields: dict[str, Any] = {"host_rewrite_literal": value.host or None}
    if value.regex:
        return {**fields, "regex_rewrite": _regex(value.regex, value.substitution)}
    if value.path is not None:
        # `path_rewrite` would say it, but it reads the text as a format and older Envoys do not know it.
        return {**fields, "regex_rewrite": _regex("^/.*", _literal(value.path))}
    if value.prefix is not None:
        return {**fields, **replace_prefix(value.prefix, match)}
    return fields


def replace_prefix(replacement: str, match: StringMatch) -> dict[str, Any]:
    """Replaces the part of the path that matched, as `prefix_rewrite` or `regex_rewrite`.

    Envoy replaces text, so that for whole segments `/a` -> `/` would turn `/a/b` into `//b`, and `/` -> `/v1`
    would turn `/b` into `/v1b`.
    """
    if match.kind is not StringMatchKind.PATH_PREFIX:
        return {"prefix_rewrite": replacement}
    old, new = path_segments(match), replacement.rstrip("/")
    if not old:
        return {"prefix_rewrite": f"{new}/"}
    if new:
        return {"prefix_rewrite": new}
    case = "(?i)" if match.ignore_case else ""
    return {"regex_rewrite": _regex(f"{case}^{re.escape(old)}/?", "/")}


def _regex(pattern: str, substitution: str) -> dict[str, Any]:
    return {"pattern": {"regex": pattern}, "substitution": substitution}


def _literal(text: str) -> str:
    r"""A backslash starts a group's number (`\1`) in a substitution."""
    return text.replace("\\", "\\\\")
