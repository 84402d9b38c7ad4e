"""TLS towards a backend, as a DestinationRule asks for it, and the certificates that it needs."""

from __future__ import annotations

import msgspec

from xds_server.diagnostics import Diagnostic
from xds_server.kube.istio import destination_rule as dr
from xds_server.mesh import names
from xds_server.mesh.model import CertificateFiles, ClientTLS, Secret, Service, TrustFiles
from xds_server.mesh.origin import Origin
from xds_server.mesh.policy import Setting


class Wanted(msgspec.Struct, frozen=True):
    """A Secret that the proxy needs, and the field that names it."""

    credential: names.Credential
    origin: Origin


class ClientSecrets(msgspec.Struct, frozen=True):
    """What a ClientTLS names. files: read by the proxy itself."""

    files: tuple[Secret, ...] = ()
    wanted: tuple[Wanted, ...] = ()


NO_SECRETS = ClientSecrets()


def client_tls(
    setting: Setting[dr.ClientTLSSettings] | None, service: Service, credentials: bool, notes: list[Diagnostic]
) -> tuple[ClientTLS | None, ClientSecrets]:
    """credentials: whether the proxy can be given Secrets: a gateway, or a client that the rule selects."""
    if setting is None or setting.value.mode == "DISABLE":
        return None, NO_SECRETS
    tls = setting.value
    if tls.mode == "ISTIO_MUTUAL":
        notes.append(setting.note("XDS5004", "mode", mode=tls.mode))
        return None, NO_SECRETS
    if tls.credential_name and not credentials:
        notes.append(setting.note("XDS5008", "credentialName"))
    from_secret = bool(tls.credential_name) and credentials
    certificate, trust, secrets = _from_secret(setting) if from_secret else _from_files(setting, notes)
    verify = not tls.insecure_skip_verify
    notes += _unused(setting, bool(trust), verify)
    result = ClientTLS(
        sni=tls.sni,
        certificate=certificate,
        trust=trust if verify else "",
        subject_alt_names=tuple(tls.subject_alt_names or service.subject_alt_names),
        verify=verify,
    )
    return result, secrets


def _from_secret(setting: Setting[dr.ClientTLSSettings]) -> tuple[str, str, ClientSecrets]:
    """(certificate, trust, what they stand for). In SIMPLE mode the Secret holds the authorities only."""
    tls = setting.value
    origin = Origin(setting.origin.ref, (*setting.origin.path, "credentialName"))
    name = tls.credential_name.removeprefix("kubernetes://").removesuffix("-cacert")
    own, trust = names.Credential(name), names.Credential(name, authorities=True)
    used = [own] if tls.mode == "MUTUAL" else []
    used += [] if tls.insecure_skip_verify else [trust]
    wanted = tuple(Wanted(credential, origin) for credential in used)
    return str(own) if own in used else "", str(trust), ClientSecrets((), wanted)


def _from_files(setting: Setting[dr.ClientTLSSettings], notes: list[Diagnostic]) -> tuple[str, str, ClientSecrets]:
    tls, origin = setting.value, setting.origin
    files: list[Secret] = []
    certificate = trust = ""
    if tls.mode == "MUTUAL" and tls.client_certificate and tls.private_key:
        certificate = names.file_certificate(tls.client_certificate, tls.private_key)
        files.append(CertificateFiles(certificate, tls.client_certificate, tls.private_key, origin))
    elif tls.mode == "MUTUAL" and not tls.credential_name:
        notes.append(setting.note("XDS5009"))
    if tls.ca_certificates:
        trust = names.file_trust(tls.ca_certificates, tls.ca_crl)
        files += [] if tls.insecure_skip_verify else [TrustFiles(trust, tls.ca_certificates, origin, tls.ca_crl)]
    return certificate, trust, ClientSecrets(tuple(files))


def _unused(setting: Setting[dr.ClientTLSSettings], trust: bool, verify: bool) -> list[Diagnostic]:
    tls = setting.value
    unverified = "" if verify else "with insecureSkipVerify"
    simple = "" if tls.mode == "MUTUAL" else "in the mode SIMPLE"
    fields = (
        ("clientCertificate", tls.client_certificate, simple),
        ("privateKey", tls.private_key, simple),
        ("caCertificates", tls.ca_certificates, unverified),
        ("caCrl", tls.ca_crl, unverified or ("" if tls.ca_certificates else "without caCertificates")),
        ("subjectAltNames", tls.subject_alt_names, unverified),
    )
    return [
        setting.note("XDS4009", field, field=field, reason=reason)
        for field, value, reason in fields
        if value and reason
    ]
