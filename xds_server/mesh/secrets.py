"""Certificates from Secrets, checked before Envoy sees them: it would refuse the whole listener."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from xds_server.kube import core
from xds_server.mesh.model import Certificate, Trust
from xds_server.mesh.origin import Origin

MAX_PEM_BYTES = 1 << 20  # a Secret of Kubernetes holds no more; parsing a bigger text costs seconds

_KEY_PAIRS = (("tls.crt", "tls.key"), ("cert", "key"))
_AUTHORITIES = ("ca.crt", "cacert")
_REVOKED = ("ca.crl", "crl")


class Refused(Exception):
    """Why a Secret cannot be used, without any of its bytes."""


class Material(msgspec.Struct, frozen=True, eq=False):
    """What a name of SDS stands for, or why it stands for nothing."""

    value: Certificate | Trust | None
    problem: str = ""


Reader = Callable[[core.Secret, str], Material]
"""(secret, name in SDS) -> what is in it."""


def certificate(secret: core.Secret, name: str) -> Material:
    """The key pair under `tls.crt` and `tls.key`, or `cert` and `key`."""
    data = _data(secret)
    for chain_field, key_field in _KEY_PAIRS:
        if chain_field in data and key_field in data:
            chain, key = data[chain_field], data[key_field]
            try:
                _check_pair(chain, key)
            except Refused as problem:
                return Material(None, str(problem))
            return Material(Certificate(name, chain, key, Origin(secret.ref)))
    return Material(None, "it has neither tls.crt and tls.key nor cert and key")


def trust(secret: core.Secret, name: str) -> Material:
    """The certificate authorities under `ca.crt` or `cacert`, with `ca.crl` or `crl`."""
    data = _data(secret)
    for field in _AUTHORITIES:
        if field in data:
            try:
                _certificates(data[field], field)
            except Refused as problem:
                return Material(None, str(problem))
            revoked = next((data[crl] for crl in _REVOKED if crl in data), b"")
            return Material(Trust(name, data[field], Origin(secret.ref), revoked))
    return Material(None, "it has neither ca.crt nor cacert")


def _data(secret: core.Secret) -> dict[str, bytes]:
    written = {key: text.encode() for key, text in secret.string_data.items()}
    return {**secret.data, **written}


def _check_pair(chain: bytes, key: bytes) -> None:
    leaf = _certificates(chain, "the certificate")[0]
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, ExceptionGroup):
        raise Refused("the private key cannot be read as PEM without a password") from None
    public = private.public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise Refused("the private key does not belong to the certificate")


def _certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    if len(pem) > MAX_PEM_BYTES:
        raise Refused(f"{what} has {len(pem)} bytes; the limit is {MAX_PEM_BYTES}")
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Refused(f"{what} cannot be read as PEM") from None
