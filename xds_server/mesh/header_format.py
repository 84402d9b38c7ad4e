"""The format language of header values: `%%` is a percent sign, `%REQ(x)%` a variable.

A value that Envoy cannot parse makes it refuse the whole route configuration. Source: the command operators of
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage, each tried on Envoy.
"""

from __future__ import annotations

import re

_VARIABLE = re.compile(r"%%|%([A-Z0-9_]+)(?:\(([^)]*)\))?(:\d+)?%")

_PLAIN = frozenset(
    """
    ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID CONNECTION_TERMINATION_DETAILS
    CUSTOM_FLAGS DOWNSTREAM_DIRECT_LOCAL_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS
    DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_LOCAL_DNS_SAN DOWNSTREAM_LOCAL_PORT DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN
    DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER
    DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_REMOTE_ADDRESS
    DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_SESSION_ID
    DOWNSTREAM_TLS_VERSION DURATION GRPC_STATUS_NUMBER HOSTNAME PROTOCOL REQUEST_DURATION REQUEST_HEADERS_BYTES
    RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG ROUNDTRIP_DURATION
    ROUTE_NAME STREAM_ID TLS_JA3_FINGERPRINT TRACE_ID UNIQUE_ID UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW
    UPSTREAM_HOST UPSTREAM_HOST_NAME UPSTREAM_LOCAL_ADDRESS UPSTREAM_PEER_CERT UPSTREAM_PEER_SUBJECT
    UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_TLS_CIPHER
    UPSTREAM_TLS_VERSION UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME
    """.split()
)

_HEADER = r":?[-!#$&'*+.^_`|~0-9A-Za-z]+"
_KEYS = r"[^()%]+"
_ARGUMENTS: dict[str, re.Pattern[str]] = {
    "REQ": re.compile(rf"{_HEADER}(\?{_HEADER})?"),
    "RESP": re.compile(rf"{_HEADER}(\?{_HEADER})?"),
    "TRAILER": re.compile(rf"{_HEADER}(\?{_HEADER})?"),
    "QUERY_PARAM": re.compile(_KEYS),
    "ENVIRONMENT": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "DYNAMIC_METADATA": re.compile(_KEYS),
    "UPSTREAM_METADATA": re.compile(_KEYS),
    "METADATA": re.compile(rf"(DYNAMIC|CLUSTER|ROUTE|UPSTREAM_HOST|LISTENER|VIRTUAL_HOST):{_KEYS}"),
    "FILTER_STATE": re.compile(rf"[^():%]+(:(PLAIN|TYPED|FIELD:{_KEYS}))?"),
}
"""What must be in the parentheses."""

_OPTIONS: dict[str, re.Pattern[str]] = {
    "START_TIME": re.compile(r"[^()]*"),
    "DOWNSTREAM_PEER_CERT_V_START": re.compile(r"[^()]*"),
    "DOWNSTREAM_PEER_CERT_V_END": re.compile(r"[^()]*"),
    "GRPC_STATUS": re.compile(r"CAMEL_STRING|SNAKE_STRING|NUMBER"),
    "REQUESTED_SERVER_NAME": re.compile(r"SNI_ONLY|SNI_FIRST|HOST_FIRST"),
}
"""What may be in the parentheses."""

_WITH_LENGTH = frozenset({"REQ", "RESP", "TRAILER", "QUERY_PARAM", "DYNAMIC_METADATA", "METADATA", "FILTER_STATE"})


def header_value(value: str) -> str | None:
    """What is wrong with it, as the end of a sentence; None for a value that Envoy takes."""
    if any(ord(character) < 32 and character != "\t" for character in value) or "\x7f" in value:
        return "has a control character"
    for match in _VARIABLE.finditer(value):
        problem = _variable(match.group(1), match.group(2), match.group(3)) if match.group(1) else None
        if problem:
            return problem
    return "has a single %; write %% for a percent sign" if "%" in _VARIABLE.sub("", value) else None


def _variable(command: str, argument: str | None, length: str | None) -> str | None:
    if length and command not in _WITH_LENGTH:
        return f"asks for a length of %{command}%, which has none"
    if command in _PLAIN:
        return None if argument is None else f"gives %{command}% an argument, which it does not take"
    required, optional = _ARGUMENTS.get(command), _OPTIONS.get(command)
    pattern = required or optional
    if pattern is None:
        return f"uses the variable %{command}%, which Envoy does not know; write %% for a percent sign"
    if argument is None:
        return f"uses %{command}% without its argument" if required else None
    return None if pattern.fullmatch(argument) else f"gives %{command}% the argument {argument!r}"
