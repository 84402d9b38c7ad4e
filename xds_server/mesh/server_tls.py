"""TLS that a Gateway's server ends, and the secrets that it needs."""

from __future__ import annotations

from collections.abc import Iterator

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, Path, diagnostic
from xds_server.kube import core
from xds_server.kube.istio.gateway import ServerTLSSettings
from xds_server.memo import Memo
from xds_server.mesh import secrets
from xds_server.mesh.gateway_servers import BoundServer
from xds_server.mesh.model import Certificate, ClientCertificate, ServerTLS, Trust
from xds_server.mesh.names import Credential
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Mesh

Secrets = dict[str, Certificate | Trust]

_VERSIONS = {"TLS_AUTO": "", "TLSV1_0": "1.0", "TLSV1_1": "1.1", "TLSV1_2": "1.2", "TLSV1_3": "1.3"}
_CLIENT = {
    "SIMPLE": ClientCertificate.NONE,
    "MUTUAL": ClientCertificate.REQUIRED,
    "OPTIONAL_MUTUAL": ClientCertificate.OPTIONAL,
}


class ServerSecrets:
    """Finds the secrets of one proxy's servers. A proxy is given those of its own namespace only (CVE-2021-34824)."""

    def __init__(self, mesh: Mesh, proxy: Proxy, memo: Memo, notes: list[Diagnostic]) -> None:
        self._mesh, self._proxy, self._memo, self._notes = mesh, proxy, memo, notes
        self.found: Secrets = {}

    def server_tls(self, bound: BoundServer) -> ServerTLS | None:
        """None, with the reason in the notes, when the server cannot be served."""
        settings = bound.server.tls
        if settings is None:
            return None
        path = (*bound.path, "tls")
        if settings.mode not in _CLIENT:
            self._notes.append(diagnostic("XDS5004", bound.gateway.ref, (*path, "mode"), mode=settings.mode))
            return None
        names = [
            name
            for where, credential in _credentials(settings)
            if (name := self._secret(bound, (*path, *where), Credential(credential)))
        ]
        if not names:
            if not any(True for _ in _credentials(settings)):
                self._notes.append(diagnostic("XDS5003", bound.gateway.ref, path))
            return None
        client = _CLIENT[settings.mode]
        trust = self._trust(bound, settings, path) if client is not ClientCertificate.NONE else ""
        if trust is None:
            return None
        return ServerTLS(
            certificates=tuple(names),
            trust=trust,
            client_certificate=client,
            min_version=_VERSIONS[settings.min_protocol_version] or "1.2",
            max_version=_VERSIONS[settings.max_protocol_version],
            cipher_suites=settings.cipher_suites,
            subject_alt_names=settings.subject_alt_names,
            certificate_hashes=settings.verify_certificate_hash,
            certificate_spkis=settings.verify_certificate_spki,
            alpn=("h2", "http/1.1") if bound.is_https else (),
        )

    def _trust(self, bound: BoundServer, settings: ServerTLSSettings, path: Path) -> str | None:
        """The authorities of clients: `caCertCredentialName`, or `NAME-cacert`, or those beside the certificate."""
        if settings.ca_cert_credential_name:
            where = (*path, "caCertCredentialName")
            return self._secret(bound, where, Credential(settings.ca_cert_credential_name, authorities=True))
        where, credential = next(_credentials(settings))
        return self._secret(bound, (*path, *where), Credential(credential, authorities=True))

    def _secret(self, bound: BoundServer, path: Path, credential: Credential) -> str | None:
        """The name under which the proxy gets the secret. Also looks for `NAME-cacert` when it is about trust."""
        namespace = bound.gateway.metadata.namespace if self._proxy.labels is None else self._proxy.namespace
        credential = credential._replace(
            name=credential.name.removeprefix("kubernetes://"),
            namespace="" if namespace == self._proxy.namespace else namespace,
        )
        candidates = [credential.name]
        if credential.authorities:
            candidates.insert(0, f"{credential.name}-cacert")
        ref = bound.gateway.ref
        objects = [self._mesh.secrets.get((namespace, name)) for name in candidates]
        secret = next((s for s in objects if s is not None), None)
        if secret is None:
            shown = f"{namespace}/{credential.name}"
            elsewhere = sorted(ns for ns, name in self._mesh.secrets if name == credential.name)
            hint = f"there is one in {', '.join(elsewhere)}; a gateway gets only those of its own namespace"
            suggestion = hint if elsewhere else ""
            self._notes.append(diagnostic("XDS5001", ref, path, secret=shown, suggestion=suggestion))
            return None
        read = secrets.trust if credential.authorities else secrets.certificate
        return self._read(secret, read, str(credential), bound, path)

    def _read(self, secret: core.Secret, read: secrets.Reader, name: str, bound: BoundServer, path: Path) -> str | None:
        material = attempt(self._memo, secret.ref, read, secret, name)
        if isinstance(material, Diagnostic):
            self._notes.append(material)
            return None
        if material.value is None:
            note = diagnostic("XDS5002", bound.gateway.ref, path, secret=secret.ref, problem=material.problem)
            self._notes.append(note)
            return None
        self.found[name] = material.value
        return name


def _credentials(settings: ServerTLSSettings) -> Iterator[tuple[Path, str]]:
    """(path, name of the Secret), in the order written."""
    if settings.credential_name:
        yield ("credentialName",), settings.credential_name
    for index, name in enumerate(settings.credential_names):
        yield ("credentialNames", index), name
