"""The certificates and authorities that one proxy is given."""

from __future__ import annotations

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, ObjectRef, Path, diagnostic
from xds_server.kube import core
from xds_server.memo import Memo
from xds_server.mesh import secrets
from xds_server.mesh.client_tls import ClientSecrets
from xds_server.mesh.model import Secret
from xds_server.mesh.names import Credential
from xds_server.mesh.origin import Origin
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered

_NO_BACKEND = "requests to it are answered 503 until there is"


class ProxySecrets:
    """Finds secrets for one proxy and gathers them; lives only while its view is made.

    A proxy is given those of its own namespace only (CVE-2021-34824).
    """

    def __init__(self, mesh: Mesh, proxy: Proxy, memo: Memo, gathered: Gathered) -> None:
        self._mesh, self._proxy, self._memo, self._gathered = mesh, proxy, memo, gathered

    def client(self, needed: ClientSecrets) -> bool:
        """Whether all that a backend's TLS names is there. Without its certificates a backend must not be used: it
        would be trusted for the wrong reason, or not at all."""
        for secret in needed.files:
            self._gathered.secrets[secret.name] = secret
        found = [self.credential(want.credential, want.origin, _NO_BACKEND) for want in needed.wanted]
        return all(found)

    def files(self, secret: Secret) -> str:
        self._gathered.secrets.setdefault(secret.name, secret)
        return secret.name

    def credential(self, credential: Credential, asked: Origin, effect: str = "") -> str | None:
        """The name under which the proxy gets the Secret; None, with the reason in the notes, when it cannot be used.
        For authorities `NAME-cacert` comes before NAME."""
        ref, path = asked.ref, asked.path
        namespace = ref.namespace if self._proxy.labels is None else self._proxy.namespace
        credential = credential._replace(
            name=credential.name.removeprefix("kubernetes://"),
            namespace="" if namespace == self._proxy.namespace else namespace,
        )
        candidates = [credential.name]
        if credential.authorities:
            candidates.insert(0, f"{credential.name}-cacert")
        objects = [self._mesh.secrets.get((namespace, name)) for name in candidates]
        secret = next((s for s in objects if s is not None), None)
        if secret is None:
            shown = f"{namespace}/{credential.name}"
            elsewhere = sorted(ns for ns, name in self._mesh.secrets if name == credential.name)
            hint = f"there is one in {', '.join(elsewhere)}; a proxy gets only those of its own namespace"
            suggestion = hint if elsewhere else ""
            note = diagnostic("XDS5001", ref, path, secret=shown, suggestion=suggestion, effect=effect)
            self._gathered.notes.append(note)
            return None
        read = secrets.trust if credential.authorities else secrets.certificate
        return self._read(secret, read, str(credential), ref, path, effect)

    def _read(
        self, secret: core.Secret, read: secrets.Reader, name: str, ref: ObjectRef, path: Path, effect: str
    ) -> str | None:
        material = attempt(self._memo, secret.ref, read, secret, name)
        if isinstance(material, Diagnostic):
            self._gathered.notes.append(material)
            return None
        if material.value is None:
            note = diagnostic("XDS5002", ref, path, effect=effect, secret=secret.ref, problem=material.problem)
            self._gathered.notes.append(note)
            return None
        self._gathered.secrets[name] = material.value
        return name
