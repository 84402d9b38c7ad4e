"""Values that Envoy refuses, or dies from, found before they are sent.

Each check returns what is wrong as the end of a sentence, or None. The limits are those that Envoy 1.40 enforces in
`--mode validate`; header values follow its substitution formatter.
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
_VARIABLE = re.compile(r"%%|%([A-Z0-9_]+)(\([^)]*\))?(:\d+)?%")

# https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage#command-operators
_COMMANDS = frozenset(
    [
        "BYTES_RECEIVED",
        "BYTES_SENT",
        "CONNECTION_ID",
        "CONNECTION_TERMINATION_DETAILS",
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_LOCAL_ADDRESS",
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_LOCAL_PORT",
        "DOWNSTREAM_LOCAL_SUBJECT",
        "DOWNSTREAM_LOCAL_URI_SAN",
        "DOWNSTREAM_PEER_CERT",
        "DOWNSTREAM_PEER_CERT_V_END",
        "DOWNSTREAM_PEER_CERT_V_START",
        "DOWNSTREAM_PEER_FINGERPRINT_1",
        "DOWNSTREAM_PEER_FINGERPRINT_256",
        "DOWNSTREAM_PEER_ISSUER",
        "DOWNSTREAM_PEER_SERIAL",
        "DOWNSTREAM_PEER_SUBJECT",
        "DOWNSTREAM_PEER_URI_SAN",
        "DOWNSTREAM_REMOTE_ADDRESS",
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_REMOTE_PORT",
        "DOWNSTREAM_TLS_CIPHER",
        "DOWNSTREAM_TLS_SESSION_ID",
        "DOWNSTREAM_TLS_VERSION",
        "DURATION",
        "DYNAMIC_METADATA",
        "ENVIRONMENT",
        "FILTER_STATE",
        "GRPC_STATUS",
        "GRPC_STATUS_NUMBER",
        "HOSTNAME",
        "METADATA",
        "PROTOCOL",
        "REQ",
        "REQUEST_DURATION",
        "REQUESTED_SERVER_NAME",
        "RESP",
        "RESPONSE_CODE",
        "RESPONSE_CODE_DETAILS",
        "RESPONSE_DURATION",
        "RESPONSE_FLAGS",
        "ROUTE_NAME",
        "START_TIME",
        "STREAM_ID",
        "TRAILER",
        "UPSTREAM_CLUSTER",
        "UPSTREAM_HOST",
        "UPSTREAM_LOCAL_ADDRESS",
        "UPSTREAM_METADATA",
        "UPSTREAM_PEER_SUBJECT",
        "UPSTREAM_REMOTE_ADDRESS",
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        "UPSTREAM_TLS_VERSION",
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        "VIRTUAL_CLUSTER_NAME",
    ]
)


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


def header_value(value: str) -> str | None:
    """A header value in Envoy's format language: `%%` is a percent sign, `%REQ(x)%` a variable."""
    if any(ord(character) < 32 and character != "\t" for character in value) or "\x7f" in value:
        return "has a control character"
    for match in _VARIABLE.finditer(value):
        command = match.group(1)
        if command is not None and command not in _COMMANDS:
            return f"uses the variable %{command}%, which Envoy does not know; write %% for a percent sign"
    return "has a single %; write %% for a percent sign" if "%" in _VARIABLE.sub("", value) else None


def groups(text: str) -> int:
    """How many capturing groups a valid expression has."""
    return int(re2.compile(text, _RE2_OPTIONS).groups)
