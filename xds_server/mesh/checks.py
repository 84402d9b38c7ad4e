"""Values that Envoy refuses, or dies from, found before they are sent.

Each check returns what is wrong as the end of a sentence, or None. The limits are those that Envoy 1.40 enforces in
`--mode validate`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_network
from math import isqrt

import re2  # type: ignore[import-untyped]

MAX_REGEX_LENGTH = 1024  # as in Istio's validation; a huge expression costs Envoy memory
MAX_BODY_BYTES = 1 << 20  # RouteConfiguration.max_direct_response_body_size_bytes as we set it

_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False
_RE2_OPTIONS.max_mem = 1 << 20

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
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


@lru_cache(maxsize=4096)
def matches_whole(pattern: str, text: str) -> bool:
    """Whether a valid expression matches all of the text, as Envoy asks."""
    return re2.fullmatch(pattern, text, _RE2_OPTIONS) is not None


def cidr(text: str) -> str | None:
    """An address, or a range of them."""
    try:
        ip_network(text, strict=False)
    except ValueError as problem:
        return f"is no range of addresses: {problem}"
    return None


def name(text: str) -> str | None:
    """A name that can be asked for in DNS. Underscores occur in practice (RFC 2782)."""
    labels = text.removesuffix(".").split(".")
    usable = len(text) < 256 and all(_LABEL.fullmatch(label) for label in labels)
    return None if usable else "is not a name that can be asked for in DNS"


def host(text: str) -> str | None:
    """A host of a server: a name, `*.` before one, or `*`."""
    if text == "*" or "*" not in text.removeprefix("*."):
        return None
    return "is not a host: `*` can only stand for the first labels, as in *.example.com"


def groups(text: str) -> int:
    """How many capturing groups a valid expression has."""
    return int(re2.compile(text, _RE2_OPTIONS).groups)


MAX_RING_SIZE = 8 * 1024 * 1024
MAX_MAGLEV_SIZE = 5_000_011


def ring_size(size: int) -> str | None:
    """The size of a hash ring."""
    return f"is too large; the limit is {MAX_RING_SIZE}" if size > MAX_RING_SIZE else None


def maglev_size(size: int) -> str | None:
    """The size of a Maglev table."""
    if size > MAX_MAGLEV_SIZE:
        return f"is too large; the limit is {MAX_MAGLEV_SIZE}"
    prime = size > 1 and all(size % divisor for divisor in range(2, isqrt(size) + 1))
    return None if prime else "is not a prime number"


# Those of BoringSSL as Envoy 1.40 builds it, tried one by one; TLS 1.3 always offers all of its own.
CIPHER_SUITES = frozenset(
    """
    ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305
    ECDHE-ECDSA-AES128-SHA ECDHE-ECDSA-AES256-SHA ECDHE-ECDSA-AES128-SHA256
    ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384 ECDHE-RSA-CHACHA20-POLY1305
    ECDHE-RSA-AES128-SHA ECDHE-RSA-AES256-SHA ECDHE-RSA-AES128-SHA256
    ECDHE-PSK-AES128-CBC-SHA ECDHE-PSK-AES256-CBC-SHA ECDHE-PSK-CHACHA20-POLY1305
    AES128-GCM-SHA256 AES256-GCM-SHA384 AES128-SHA AES256-SHA DES-CBC3-SHA PSK-AES128-CBC-SHA PSK-AES256-CBC-SHA
    """.split()
)


def cipher_suite(text: str) -> str | None:
    """One entry of a list of cipher suites for TLS up to 1.2: a name, or `[A|B]` for several of equal rank."""
    group = text[1:-1].split("|") if text.startswith("[") and text.endswith("]") else [text]
    if all(name in CIPHER_SUITES for name in group):
        return None
    if text.startswith("TLS_"):
        return "is of TLS 1.3, whose cipher suites cannot be chosen"
    return "is not a cipher suite that Envoy has"
