"""TLS that a Gateway's server ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from xds_server.diagnostics import Diagnostic, Path, diagnostic
from xds_server.kube.istio.gateway import ServerTLSSettings
from xds_server.mesh import checks, names
from xds_server.mesh.gateway_servers import BoundServer
from xds_server.mesh.model import CertificateFiles, ClientCertificate, ServerTLS, TrustFiles
from xds_server.mesh.names import Credential
from xds_server.mesh.origin import Origin
from xds_server.mesh.proxy_secrets import ProxySecrets

_VERSIONS = {"TLS_AUTO": "", "TLSV1_0": "1.0", "TLSV1_1": "1.1", "TLSV1_2": "1.2", "TLSV1_3": "1.3"}
_CLIENT = {
    "SIMPLE": ClientCertificate.NONE,
    "MUTUAL": ClientCertificate.REQUIRED,
    "OPTIONAL_MUTUAL": ClientCertificate.OPTIONAL,
}


def server_tls(bound: BoundServer, secrets: ProxySecrets, notes: list[Diagnostic]) -> ServerTLS | None:
    """None, with the reason in the notes, when the server cannot be served."""
    settings = bound.server.tls
    if settings is None:
        return None
    return ended_tls(settings, Origin(bound.gateway.ref, (*bound.path, "tls")), bound.is_https, secrets, notes)


def ended_tls(
    settings: ServerTLSSettings, tls: Origin, is_https: bool, secrets: ProxySecrets, notes: list[Diagnostic]
) -> ServerTLS | None:
    """As `server_tls`, for settings of any resource. tls: where they are written. is_https: HTTP is inside."""
    if settings.mode not in _CLIENT:
        notes.append(diagnostic("XDS5004", tls.ref, (*tls.path, "mode"), mode=settings.mode))
        return None
    client = _CLIENT[settings.mode]
    certificates = tuple(_certificates(settings, tls, secrets))
    if not certificates and not _names_certificate(settings):
        notes.append(diagnostic("XDS5003", tls.ref, tls.path))
    pins = _pins(settings, tls, notes)
    trust = _trust(settings, tls, any(pins), secrets, notes) if client is not ClientCertificate.NONE else ""
    versions = _versions(settings, tls, notes)
    suites = _kept(settings.cipher_suites, checks.cipher_suite, "cipherSuites", "XDS5006", tls, notes)
    if not certificates or trust is None or versions is None or (settings.cipher_suites and not suites):
        return None
    notes += _unused(settings, tls, client)
    return ServerTLS(
        certificates=certificates,
        trust=trust,
        client_certificate=client,
        min_version=versions[0] or "1.2",
        max_version=versions[1],
        cipher_suites=suites,
        subject_alt_names=settings.subject_alt_names,
        certificate_hashes=pins[0],
        certificate_spkis=pins[1],
        alpn=("h2", "http/1.1") if is_https else (),
    )


def _names_certificate(settings: ServerTLSSettings) -> bool:
    return bool(
        settings.credential_name
        or settings.credential_names
        or settings.tls_certificates
        or (settings.server_certificate and settings.private_key)
    )


def _certificates(settings: ServerTLSSettings, tls: Origin, secrets: ProxySecrets) -> Iterator[str]:
    """The names of those that can be used, in the order written."""
    for where, credential in _credentials(settings):
        if found := secrets.credential(Credential(credential), Origin(tls.ref, (*tls.path, *where))):
            yield found
    if settings.credential_name or settings.credential_names:
        return
    pairs = [(settings.server_certificate, settings.private_key)]
    pairs += [(pair.server_certificate, pair.private_key) for pair in settings.tls_certificates]
    for chain, key in pairs:
        if chain and key:
            yield secrets.files(CertificateFiles(names.file_certificate(chain, key), chain, key, tls))


def _credentials(settings: ServerTLSSettings) -> Iterator[tuple[Path, str]]:
    """(path, name of the Secret), in the order written."""
    if settings.credential_name:
        yield ("credentialName",), settings.credential_name
    for index, name in enumerate(settings.credential_names):
        yield ("credentialNames", index), name


def _trust(
    settings: ServerTLSSettings, tls: Origin, pinned: bool, secrets: ProxySecrets, notes: list[Diagnostic]
) -> str | None:
    """The authorities of clients: `caCertCredentialName`, or `NAME-cacert`, or those beside the certificate, or
    `caCertificates`. Empty when pinned certificates are enough; None when there are none."""
    if settings.ca_cert_credential_name:
        where = Origin(tls.ref, (*tls.path, "caCertCredentialName"))
        return secrets.credential(Credential(settings.ca_cert_credential_name, authorities=True), where)
    authorities = settings.ca_certificates or next(
        (pair.ca_certificates for pair in settings.tls_certificates if pair.ca_certificates), ""
    )
    if authorities:
        name = names.file_trust(authorities, settings.ca_crl)
        return secrets.files(TrustFiles(name, authorities, tls, settings.ca_crl))
    for path, credential in _credentials(settings):
        return secrets.credential(Credential(credential, authorities=True), Origin(tls.ref, (*tls.path, *path)))
    if pinned:
        return ""
    notes.append(diagnostic("XDS5010", tls.ref, tls.path, mode=settings.mode))
    return None


def _versions(settings: ServerTLSSettings, tls: Origin, notes: list[Diagnostic]) -> tuple[str, str] | None:
    """Envoy takes a minimum above the maximum without a word, and then refuses every connection."""
    lowest, highest = _VERSIONS[settings.min_protocol_version], _VERSIONS[settings.max_protocol_version]
    if highest and (lowest or "1.2") > highest:
        if lowest:
            path = (*tls.path, "minProtocolVersion")
            notes.append(diagnostic("XDS5005", tls.ref, path, minimum=f"TLS {lowest}", maximum=f"TLS {highest}"))
            return None
        lowest = highest  # who asks for at most 1.0 or 1.1 means it, and the default minimum is our own
    return lowest, highest


def _pins(settings: ServerTLSSettings, tls: Origin, notes: list[Diagnostic]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (
        _kept(settings.verify_certificate_hash, _hash, "verifyCertificateHash", "XDS4011", tls, notes),
        _kept(settings.verify_certificate_spki, _spki, "verifyCertificateSpki", "XDS4011", tls, notes),
    )


def _hash(text: str) -> str | None:
    good = re.fullmatch(r"[0-9a-fA-F]{64}|([0-9a-fA-F]{2}:){31}[0-9a-fA-F]{2}", text)
    return None if good else "is not a SHA-256 in hexadecimal: 64 digits, or 32 pairs with a colon between"


def _spki(text: str) -> str | None:
    good = re.fullmatch(r"[A-Za-z0-9+/]{43}=", text)
    return None if good else "is not a SHA-256 in base64: 43 characters and ="


def _kept(
    values: tuple[str, ...],
    check: Callable[[str], str | None],
    field: str,
    code: str,
    tls: Origin,
    notes: list[Diagnostic],
) -> tuple[str, ...]:
    """The values that Envoy takes; one that it refuses would cost the whole listener."""
    kept = []
    for index, value in enumerate(values):
        problem = check(value)
        if problem:
            notes.append(diagnostic(code, tls.ref, (*tls.path, field, index), value=value, reason=problem))
        else:
            kept.append(value)
    return tuple(kept)


def _unused(settings: ServerTLSSettings, tls: Origin, client: ClientCertificate) -> list[Diagnostic]:
    simple = "in the mode SIMPLE" if client is ClientCertificate.NONE else ""
    in_secret = "beside a credentialName" if settings.credential_name or settings.credential_names else ""
    no_file = "" if settings.ca_certificates else "without caCertificates; put a ca.crl into the Secret"
    fields: tuple[tuple[str, object, str], ...] = (
        ("caCertCredentialName", settings.ca_cert_credential_name, simple),
        ("caCertificates", settings.ca_certificates, simple),
        ("caCrl", settings.ca_crl, simple or no_file),
        ("subjectAltNames", settings.subject_alt_names, simple),
        ("verifyCertificateHash", settings.verify_certificate_hash, simple),
        ("verifyCertificateSpki", settings.verify_certificate_spki, simple),
        ("serverCertificate", settings.server_certificate, in_secret),
        ("privateKey", settings.private_key, in_secret),
    )
    return [
        diagnostic("XDS4009", tls.ref, (*tls.path, field), field=field, reason=reason)
        for field, value, reason in fields
        if value and reason
    ]
