"""The server's side of TLS on the xDS port. Its files may change at any time; new connections see the newest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import msgspec
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

log = structlog.get_logger()

_LARGEST = 2**20  # bytes of a PEM file: parsing costs time


class TlsFiles(msgspec.Struct, frozen=True):
    """Paths of PEM files. certificate: the chain, leaf first. client_ca: who signs the certificates that clients
    must have; empty when they need none."""

    certificate: str
    key: str
    client_ca: str = ""

    def paths(self) -> list[Path]:
        return [Path(path) for path in (self.certificate, self.key, self.client_ca) if path]


class CredentialsError(Exception):
    """The files cannot be used; the text says which and why."""


class _Pems(msgspec.Struct, frozen=True):
    certificate: bytes
    key: bytes
    client_ca: bytes | None


def credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials that follow the files. Raises CredentialsError when they cannot be used now.

    Files that go bad later are logged once, and the last good ones stay in use.
    """
    follower = _Follower(files)
    changed: Any = follower.changed  # its stub does not know that None stands for no change
    return grpc.dynamic_ssl_server_credentials(follower.first, changed, bool(files.client_ca))


class _Follower:
    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = _stamp(files)
        self._used = _read(files)
        self.first = _configuration(self._used)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What new connections get, None for the same as before. gRPC asks before each handshake, from its threads."""
        stamp = _stamp(self._files)
        if stamp == self._seen:
            return None
        self._seen = stamp
        try:
            pems = _read(self._files)
        except CredentialsError as error:
            log.error("the new TLS files cannot be used; the last good ones stay", error=str(error))
            return None
        if pems == self._used:
            return None
        self._used = pems
        log.info("the TLS files have changed", certificate=self._files.certificate)
        return _configuration(pems)


def _configuration(pems: _Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.client_ca)


def _stamp(files: TlsFiles) -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(map(_version, files.paths()))


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()  # follows links: Kubernetes swaps a link to update a volume
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(files: TlsFiles) -> _Pems:
    """The files, which must fit together: they may be read while they are being replaced, one by one."""
    certificate, key, *client_ca = map(_bytes, files.paths())
    leaf = _certificates(files.certificate, certificate)[0]
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:  # TypeError: it has a password
        raise CredentialsError(f"{files.key} is not a private key in PEM without a password: {error}") from None
    if private.public_key() != leaf.public_key():
        raise CredentialsError(f"{files.key} is not the key of {files.certificate}")
    for content in client_ca:
        _certificates(files.client_ca, content)
    return _Pems(certificate, key, client_ca[0] if client_ca else None)


def _certificates(path: str, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise CredentialsError(f"{path} holds no certificates in PEM: {error}") from None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise CredentialsError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise CredentialsError(f"{path} is larger than 1 MiB")
    return content
