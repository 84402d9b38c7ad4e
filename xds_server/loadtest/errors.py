"""What went wrong with a stream, in words that say what to do."""

from __future__ import annotations

import ssl

from xds_server.loadtest.http2 import Ended

STATUS = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
    "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
    "UNAUTHENTICATED"
).split()

HINTS = (
    (
        "cannot connect: Connection refused",
        "nothing listens there; is the control plane running, and is this its port?",
    ),
    ("Cannot assign requested address", "this machine has no local ports left; fewer --streams"),
    ("speaks TLS", "add --tls-ca, and --tls-cert and --tls-key if clients need a certificate"),
    ("before it said anything", "it may want TLS (--tls-ca), or a certificate (--tls-cert and --tls-key)"),
    ("CERTIFICATE_REQUIRED", "the server wants a certificate; add --tls-cert and --tls-key"),
    ("WRONG_VERSION_NUMBER", "the server does not speak TLS on this port; leave --tls-ca out"),
    ("CERTIFICATE_VERIFY_FAILED", "see --tls-ca for who signed the certificate, --tls-server-name for whom it is for"),
    ("TLSV1_ALERT_UNKNOWN_CA", "the server does not trust who signed --tls-cert"),
    ("does not speak HTTP/2", "this is no gRPC port"),
    ("not gRPC", "something else than a control plane answers on this port"),
    ("UNIMPLEMENTED", "the control plane does not serve this variant of ADS; try the other --variant"),
    ("UNAUTHENTICATED", "the control plane does not know who this is; see --tls-cert and --tls-key"),
    ("PERMISSION_DENIED", "the certificate or the address may not be this proxy; see --proxy and --tls-cert"),
    ("INVALID_ARGUMENT", "the control plane does not accept the node; see --proxy"),
    ("RESOURCE_EXHAUSTED", "the control plane limits its clients; use a lower --rate or fewer --streams"),
    ("UNAVAILABLE", "the control plane is not ready, going away, or sheds load; see its log, or use a lower --rate"),
)
"""Words of an error -> what to do. The first that fits counts."""


def ended(how: Ended) -> str:
    """`UNAVAILABLE: ...`"""
    name = STATUS[how.code] if how.code < len(STATUS) else f"status {how.code}"
    return f"{name}: {how.text}" if how.text else name


def not_connected(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"cannot connect: CERTIFICATE_VERIFY_FAILED: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"cannot connect: {error.reason or error}"
    return f"cannot connect: {_words(error)}"


def lost(error: Exception | None) -> str:
    """Why the connection ended, as far as the network says."""
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return _words(error) if isinstance(error, OSError) else ""


def _words(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "Connection refused"  # asyncio has words of its own for it
    return error.strerror or str(error) or type(error).__name__


def hint(error: str) -> str:
    """What to do about it; empty where that is not known."""
    return next((advice for words, advice in HINTS if words in error), "")
