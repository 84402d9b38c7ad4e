"""Certificates and authorities -> secrets (`envoy.extensions.transport_sockets.tls.v3.Secret`)."""

from __future__ import annotations

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from xds_server.envoy.resource import SECRET, Resource, sealed
from xds_server.mesh.model import Certificate, CertificateFiles, Secret, Trust, TrustFiles


def secret(value: Secret) -> Resource:
    return sealed(SECRET, value.name, _message(value), [value.origin])


def _message(value: Secret) -> secret_pb2.Secret:
    if isinstance(value, Certificate):
        return _certificate(value)
    if isinstance(value, Trust):
        return _trust(value)
    return _certificate_files(value) if isinstance(value, CertificateFiles) else _trust_files(value)


def _certificate_files(value: CertificateFiles) -> secret_pb2.Secret:
    return secret_pb2.Secret(
        name=value.name,
        tls_certificate={"certificate_chain": {"filename": value.chain}, "private_key": {"filename": value.key}},
    )


def _trust_files(value: TrustFiles) -> secret_pb2.Secret:
    return secret_pb2.Secret(
        name=value.name,
        validation_context={
            "trusted_ca": {"filename": value.authorities},
            "crl": {"filename": value.revoked} if value.revoked else None,
        },
    )


def _certificate(value: Certificate) -> secret_pb2.Secret:
    return secret_pb2.Secret(
        name=value.name,
        tls_certificate={
            "certificate_chain": {"inline_bytes": value.chain},
            "private_key": {"inline_bytes": value.key},
        },
    )


def _trust(value: Trust) -> secret_pb2.Secret:
    return secret_pb2.Secret(
        name=value.name,
        validation_context={
            "trusted_ca": {"inline_bytes": value.authorities},
            "crl": {"inline_bytes": value.revoked} if value.revoked else None,
        },
    )
