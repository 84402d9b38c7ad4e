"""Which connections a filter chain takes (`envoy.config.listener.v3.FilterChainMatch`).

Envoy looks at one property after the other (destination, server name, transport, application protocol), takes
the most specific value at each step and never goes back: once some chain says `raw_buffer`, plain connections are
looked for among the chains that say so, and in no other.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from xds_server.mesh.model import ChainMatch

_HTTP = ("http/1.0", "http/1.1", "h2c")
"""What the HTTP inspector finds."""


def is_tls(match: ChainMatch) -> bool:
    """Whether it can only be known by reading the TLS ClientHello."""
    return match.tls or bool(match.server_names)


def quic_match(match: ChainMatch) -> dict[str, Any] | None:
    """The FilterChainMatch of a QUIC listener, whose connections name their server without an inspector."""
    return _match(match, "quic")


def chain_matches(match: ChainMatch, both: bool) -> list[dict[str, Any] | None]:
    """One FilterChainMatch, None for always, or two of which one must hold.

    both: the listener looks for TLS and for HTTP. Then HTTP must be matched as `raw_buffer`, for the ALPN of a
    ClientHello says `http/1.1` too; and a chain that takes anything must be there for `raw_buffer` and for the
    rest, or the plain connections would not find it.
    """
    if is_tls(match):
        return [_match(match, "tls")]
    if not both:
        return [_match(match, "")]
    return [_match(match, "raw_buffer")] if match.detected_http else [_match(match, ""), _match(match, "raw_buffer")]


def _match(match: ChainMatch, transport: str) -> dict[str, Any] | None:
    names = [name.lower() for name in match.server_names]
    fields: dict[str, Any] = {
        "destination_port": {"value": match.port} if match.port else None,
        "prefix_ranges": [_range(destination) for destination in match.destinations],
        "server_names": [] if "*" in names else names,
        "transport_protocol": transport,
        "application_protocols": _HTTP if match.detected_http else (),
    }
    return fields if any(fields.values()) else None


def _range(destination: str) -> dict[str, Any]:
    """A CidrRange. An address is a range of its own."""
    network = ip_network(destination, strict=False)
    return {"address_prefix": str(network.network_address), "prefix_len": {"value": network.prefixlen}}
