"""TLS of listeners and clusters, and the secrets it uses."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from tests.envoy_config import as_dict
from tests.unit.envoy.full import HASH, ORIGIN, SPKI
from tests.unit.envoy.shapes import picked
from xds_server.envoy.resource import SECRET
from xds_server.envoy.secrets import secret
from xds_server.envoy.tls import SYSTEM_AUTHORITIES, client_socket, references, server_socket
from xds_server.mesh.model import Certificate, ClientCertificate, ClientTLS, ServerTLS, Trust

SDS = {"ads": {}, "resourceApiVersion": "V3"}
NONE, OPTIONAL, REQUIRED = ClientCertificate


def context(socket: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = json_format.MessageToDict(socket["typed_config"])
    return result


SERVERS: dict[str, tuple[ServerTLS, dict[str, Any]]] = {
    "certificates come over the same stream": (
        ServerTLS(("a", "b")),
        {
            "commonTlsContext": {
                "tlsCertificateSdsSecretConfigs": [
                    {"name": "a", "sdsConfig": SDS},
                    {"name": "b", "sdsConfig": SDS},
                ],
                "tlsParams": {"tlsMinimumProtocolVersion": "TLSv1_2", "tlsMaximumProtocolVersion": None},
                "alpnProtocols": ["h2", "http/1.1"],
                "combinedValidationContext": None,
                "validationContext": None,
            },
            "requireClientCertificate": None,
        },
    ),
    "versions and ciphers are those that are asked for": (
        ServerTLS(("a",), min_version="1.0", max_version="1.3", cipher_suites=("X", "Y"), alpn=()),
        {
            "commonTlsContext": {
                "tlsParams": {
                    "tlsMinimumProtocolVersion": "TLSv1_0",
                    "tlsMaximumProtocolVersion": "TLSv1_3",
                    "cipherSuites": ["X", "Y"],
                },
                "alpnProtocols": None,
            }
        },
    ),
    "a client's certificate is required, trusted and has a name": (
        ServerTLS(("a",), "ca", REQUIRED, subject_alt_names=("x", "spiffe://y/z", "1.2.3.4", "m@x")),
        {
            "requireClientCertificate": True,
            "commonTlsContext": {
                "combinedValidationContext": {
                    "validationContextSdsSecretConfig": {"name": "ca", "sdsConfig": SDS},
                    "defaultValidationContext": {
                        "matchTypedSubjectAltNames": [
                            {"sanType": "DNS", "matcher": {"exact": "x"}},
                            {"sanType": "URI", "matcher": {"exact": "spiffe://y/z"}},
                            {"sanType": "IP_ADDRESS", "matcher": {"exact": "1.2.3.4"}},
                            {"sanType": "EMAIL", "matcher": {"exact": "m@x"}},
                        ]
                    },
                }
            },
        },
    ),
    "an optional certificate is checked when it is there": (
        ServerTLS(("a",), "ca", OPTIONAL),
        {
            "requireClientCertificate": False,
            "commonTlsContext": {"combinedValidationContext": {"validationContextSdsSecretConfig": {"name": "ca"}}},
        },
    ),
    "a certificate can be known by its hash": (
        ServerTLS(("a",), "", REQUIRED, certificate_hashes=(HASH,), certificate_spkis=(SPKI,)),
        {
            "requireClientCertificate": True,
            "commonTlsContext": {
                "validationContext": {"verifyCertificateHash": [HASH], "verifyCertificateSpki": [SPKI]}
            },
        },
    ),
}


@pytest.mark.parametrize("case", SERVERS)
def test_a_listener_ends_tls(case: str) -> None:
    tls, expected = SERVERS[case]
    assert picked(context(server_socket(tls)), expected) == expected


@pytest.mark.parametrize("asked", [OPTIONAL, REQUIRED])
def test_no_certificate_is_asked_for_that_nothing_would_check(asked: ClientCertificate) -> None:
    with pytest.raises(ValueError, match="which ones are good"):
        server_socket(ServerTLS(("a",), client_certificate=asked))


CLIENTS: dict[str, tuple[ClientTLS, bool, dict[str, Any]]] = {
    "by default the system's authorities are trusted": (
        ClientTLS(),
        False,
        {
            "sni": None,
            "autoSniSanValidation": None,
            "commonTlsContext": {
                "validationContext": {"trustedCa": {"filename": SYSTEM_AUTHORITIES}},
                "tlsCertificateSdsSecretConfigs": None,
                "alpnProtocols": None,
            },
        },
    ),
    "the certificate must be for the SNI": (
        ClientTLS(sni="x", trust="ca"),
        False,
        {
            "sni": "x",
            "autoSniSanValidation": True,
            "commonTlsContext": {
                "combinedValidationContext": {"validationContextSdsSecretConfig": {"name": "ca", "sdsConfig": SDS}}
            },
        },
    ),
    "or for a name that is given": (
        ClientTLS(sni="x", subject_alt_names=("y",)),
        False,
        {
            "sni": "x",
            "autoSniSanValidation": None,
            "commonTlsContext": {
                "validationContext": {"matchTypedSubjectAltNames": [{"sanType": "DNS", "matcher": {"exact": "y"}}]}
            },
        },
    ),
    "we show our own certificate, and speak HTTP/2 only": (
        ClientTLS(certificate="me"),
        True,
        {
            "commonTlsContext": {
                "tlsCertificateSdsSecretConfigs": [{"name": "me", "sdsConfig": SDS}],
                "alpnProtocols": ["h2"],
            }
        },
    ),
    "without verification anything goes": (
        ClientTLS(sni="x", trust="ca", subject_alt_names=("y",), verify=False),
        False,
        {
            "sni": "x",
            "autoSniSanValidation": None,
            "commonTlsContext": {"validationContext": None, "combinedValidationContext": None},
        },
    ),
}


@pytest.mark.parametrize("case", CLIENTS)
def test_a_cluster_starts_tls(case: str) -> None:
    tls, http2, expected = CLIENTS[case]
    assert picked(context(client_socket(tls, http2)), expected) == expected


REFERENCES: dict[str, tuple[ServerTLS | ClientTLS | None, list[str]]] = {
    "no TLS, no secret": (None, []),
    "a server's certificates, and authorities that it uses": (ServerTLS(("a", "b"), "ca", REQUIRED), ["a", "b", "ca"]),
    "no authorities of a server that asks for no certificate": (ServerTLS(("a",), "ca"), ["a"]),
    "a client's certificate and authorities": (ClientTLS(certificate="a", trust="ca"), ["a", "ca"]),
    "no authorities of a client that verifies nothing": (ClientTLS(trust="ca", verify=False), []),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_tls_refers_to(case: str) -> None:
    tls, names = REFERENCES[case]
    assert list(references(tls)) == [(SECRET, name) for name in names]


SECRETS: dict[str, tuple[Certificate | Trust, dict[str, Any]]] = {
    "a certificate and its key": (
        Certificate("a", b"chain", b"key", ORIGIN),
        {
            "name": "a",
            "tlsCertificate": {"certificateChain": {"inlineBytes": "Y2hhaW4="}, "privateKey": {"inlineBytes": "a2V5"}},
        },
    ),
    "authorities": (
        Trust("a", b"ca", ORIGIN),
        {"name": "a", "validationContext": {"trustedCa": {"inlineBytes": "Y2E="}}},
    ),
    "authorities and what they have revoked": (
        Trust("a", b"ca", ORIGIN, b"crl"),
        {"name": "a", "validationContext": {"trustedCa": {"inlineBytes": "Y2E="}, "crl": {"inlineBytes": "Y3Js"}}},
    ),
}


@pytest.mark.parametrize("case", SECRETS)
def test_a_secret_is(case: str) -> None:
    value, expected = SECRETS[case]
    resource = secret(value)
    assert as_dict(resource) == expected
    assert resource.origins == (ORIGIN,)
