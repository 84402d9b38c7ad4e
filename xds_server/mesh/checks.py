"""Values that Envoy refuses, or dies from, found before they are sent.

Each check returns what is wrong as the end of a sentence, or None. The limits are those that Envoy 1.40 enforces in
`--mode validate`.
"""

from __future__ import annotations

import re
from functools import lru_cache

import re2  # type: ignore[import-untyped]

MAX_REGEX_LENGTH = 1024  # as in Istio's validation; a huge expression costs Envoy memory
MAX_BODY_BYTES = 1 << 20  # RouteConfiguration.max_direct_response_body_size_bytes as we set it

_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False
_RE2_OPTIONS.max_mem = 1 << 20

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@lru_cache(maxsize=4096)
def regex(text: str) -> str | None:
    """An expression for Envoy's RE2."""
    if len(text) > MAX_REGEX_LENGTH:
        return f"is {len(text)} characters long; the limit is {MAX_REGEX_LENGTH}"
    try:
        re2.compile(text, _RE2_OPTIONS)
    except re2.error as problem:
        reason = problem.args[0] if problem.args else problem
        return f"is not a regular expression of RE2: {reason.decode() if isinstance(reason, bytes) else reason}"
    return None


def header_name(name: str) -> str | None:
    """The name of a header that a route may change."""
    if name.startswith(":") or name.lower() == "host":
        return "cannot be changed here; use rewrite.authority for the host"
    return None if _TOKEN.fullmatch(name) else "is not a valid header name"


def groups(text: str) -> int:
    """How many capturing groups a valid expression has."""
    return int(re2.compile(text, _RE2_OPTIONS).groups)
