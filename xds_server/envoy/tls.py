"""TLS of both sides. Certificates and authorities come over SDS, so that a renewed one changes nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from envoy.extensions.transport_sockets.quic.v3 import quic_transport_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from xds_server.envoy.proto import ADS, packed, wrapped
from xds_server.envoy.resource import SECRET
from xds_server.mesh.model import ClientCertificate, ClientTLS, ServerTLS

SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""The proxy's own trust store, where Debian, Ubuntu, Alpine, distroless and Istio's images keep it. Envoy has no
word for "the system's" yet: CertificateValidationContext.system_root_certs is not implemented in 1.40."""

_VERSIONS: Mapping[str, str] = {
    "": "TLS_AUTO",
    "1.0": "TLSv1_0",
    "1.1": "TLSv1_1",
    "1.2": "TLSv1_2",
    "1.3": "TLSv1_3",
}


def server_socket(tls: ServerTLS) -> dict[str, Any]:
    """A TransportSocket that ends TLS. Raises ValueError when it should demand a client's certificate that
    nothing would check: Envoy would take any."""
    return _socket(_server_context(tls))


def quic_socket(tls: ServerTLS) -> dict[str, Any]:
    """A TransportSocket of QUIC, which has TLS 1.3 inside. Raises as `server_socket` does."""
    transport = quic_transport_pb2.QuicDownstreamTransport(downstream_tls_context=_server_context(tls))
    return {"name": "envoy.transport_sockets.quic", "typed_config": packed(transport)}


def _server_context(tls: ServerTLS) -> Any:
    checks = {
        "match_typed_subject_alt_names": _subject_alt_names(tls.subject_alt_names),
        "verify_certificate_hash": tls.certificate_hashes,
        "verify_certificate_spki": tls.certificate_spkis,
    }
    asks = tls.client_certificate is not ClientCertificate.NONE
    if asks and not (tls.trust or tls.certificate_hashes or tls.certificate_spkis):
        raise ValueError("a client's certificate is asked for, but nothing says which ones are good")
    common = {
        "tls_params": {
            "tls_minimum_protocol_version": _VERSIONS[tls.min_version],
            "tls_maximum_protocol_version": _VERSIONS[tls.max_version],
            "cipher_suites": tls.cipher_suites,
        },
        "tls_certificate_sds_secret_configs": [_secret(name) for name in tls.certificates],
        "alpn_protocols": tls.alpn,
        **(_validation(tls.trust, checks) if asks else {}),
    }
    # Said in both cases when there is something to check: Envoy announces another default.
    required = wrapped(tls.client_certificate is ClientCertificate.REQUIRED) if asks else None
    return tls_pb2.DownstreamTlsContext(common_tls_context=common, require_client_certificate=required)


def client_socket(tls: ClientTLS, http2: bool) -> dict[str, Any]:
    """A TransportSocket that starts TLS. http2: the backend only speaks HTTP/2.

    A certificate must also be for the right name: one of the given names, or else the SNI. A chain of a public
    authority alone proves nothing, since anyone can have one.
    """
    if not tls.verify:
        validation: dict[str, Any] = {}
    elif tls.trust:
        validation = _validation(tls.trust, _names(tls))
    else:
        validation = {"validation_context": {"trusted_ca": {"filename": SYSTEM_AUTHORITIES}, **_names(tls)}}
    common = {
        "tls_certificate_sds_secret_configs": [_secret(tls.certificate)] if tls.certificate else [],
        "alpn_protocols": ["h2"] if http2 else [],
        **validation,
    }
    by_sni = tls.verify and bool(tls.sni) and not tls.subject_alt_names
    return _socket(tls_pb2.UpstreamTlsContext(common_tls_context=common, sni=tls.sni, auto_sni_san_validation=by_sni))


def references(tls: ServerTLS | ClientTLS | None) -> Iterator[tuple[str, str]]:
    """The secrets that it names."""
    if tls is None:
        return
    certificates = tls.certificates if isinstance(tls, ServerTLS) else (tls.certificate,)
    used = tls.client_certificate is not ClientCertificate.NONE if isinstance(tls, ServerTLS) else tls.verify
    for name in (*certificates, tls.trust if used else ""):
        if name:
            yield SECRET, name


def _socket(context: Any) -> dict[str, Any]:
    return {"name": "envoy.transport_sockets.tls", "typed_config": packed(context)}


def _secret(name: str) -> dict[str, Any]:
    return {"name": name, "sds_config": ADS}


def _validation(trust: str, checks: dict[str, Any]) -> dict[str, Any]:
    if not trust:
        return {"validation_context": checks}
    return {
        "combined_validation_context": {
            "default_validation_context": checks,
            "validation_context_sds_secret_config": _secret(trust),
        }
    }


def _names(tls: ClientTLS) -> dict[str, Any]:
    return {"match_typed_subject_alt_names": _subject_alt_names(tls.subject_alt_names)}


def _subject_alt_names(names: Iterable[str]) -> list[dict[str, Any]]:
    return [{"san_type": _san_type(name), "matcher": {"exact": name}} for name in names]


def _san_type(name: str) -> str:
    if "://" in name:
        return "URI"
    if "@" in name:
        return "EMAIL"
    try:
        ip_address(name)
    except ValueError:
        return "DNS"
    return "IP_ADDRESS"
