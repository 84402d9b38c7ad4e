"""Certificates and authorities -> secrets (`envoy.extensions.transport_sockets.tls.v3.Secret`)."""

from __future__ import annotations

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from xds_server.envoy.resource import SECRET, Resource, sealed
from xds_server.mesh.model import Certificate, Trust


def secret(value: Certificate | Trust) -> Resource:
    message = _certificate(value) if isinstance(value, Certificate) else _trust(value)
    return sealed(SECRET, value.name, message, [value.origin])


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
