"""A file of the server's own, replaced in one step, with a checksum, and encrypted if there is a key."""

from __future__ import annotations

import contextlib
import os
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Any

_PLAIN = b"xds-server last good 2\n"
_SEALED = b"xds-server last good 2, encrypted\n"
_DIGEST = 32
_NONCE = 12
PROXIES, OBJECTS = "proxies", "objects"
"""The files of a state directory."""
LIMIT = 256 * 2**20  # bytes; a content that needs more is not kept
KEY_BYTES = 16  # the least that a key must have


class StateError(Exception):
    """The file, the directory or the key cannot be used; the text says why."""


class StateFile:
    """key: encrypts the file; of any length, but not guessable."""

    def __init__(self, path: Path, key: bytes = b"") -> None:
        self.path = path
        self._cipher = _cipher(key) if key else None

    def beside(self, suffix: str) -> StateFile:
        """Another file, of the same directory and key."""
        other = StateFile(self.path.with_name(self.path.name + suffix))
        other._cipher = self._cipher
        return other

    @property
    def is_encrypted(self) -> bool:
        return self._cipher is not None

    def read(self) -> bytes | None:
        """What was written; None if there is no file. Raises StateError when it is damaged."""
        try:
            raw = self.path.read_bytes() if self.path.stat().st_size <= LIMIT else b""
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{self.path} cannot be read: {error.strerror}") from None
        return self._opened(raw)

    def write(self, body: bytes) -> None:
        """Replaces the file. Raises StateError when that is not possible; the old file stays."""
        content = self._closed(body)
        if len(content) > LIMIT:
            raise StateError(f"{len(content)} bytes are more than the {LIMIT} that are kept")
        try:
            self._replace(content)
        except OSError as error:
            raise StateError(f"{self.path} cannot be written: {error.strerror}") from None

    def remove(self) -> None:
        """Removes the file, if there is one. Raises StateError when that is not possible."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(f"{self.path} cannot be removed: {error.strerror}") from None

    def _closed(self, body: bytes) -> bytes:
        mark = _PLAIN
        if self._cipher:
            nonce = os.urandom(_NONCE)
            mark, body = _SEALED, nonce + self._cipher.encrypt(nonce, body, _SEALED)
        return mark + blake2b(body, digest_size=_DIGEST).digest() + body

    def _opened(self, raw: bytes) -> bytes:
        mark = next((mark for mark in (_PLAIN, _SEALED) if raw.startswith(mark)), _PLAIN)
        digest, body = raw[len(mark) : len(mark) + _DIGEST], raw[len(mark) + _DIGEST :]
        if not raw.startswith(mark) or digest != blake2b(body, digest_size=_DIGEST).digest():
            raise StateError(f"{self.path} is damaged or of another version")
        if mark is _PLAIN:
            return body
        if not self._cipher:
            raise StateError(f"{self.path} is encrypted, and there is no key for it")
        from cryptography.exceptions import InvalidTag

        try:
            opened: bytes = self._cipher.decrypt(body[:_NONCE], body[_NONCE:], _SEALED)
            return opened
        except InvalidTag:
            raise StateError(f"{self.path} was encrypted with another key") from None

    def _replace(self, content: bytes) -> None:
        number, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)  # of mode 0600
        try:
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def any_in(directory: str) -> bool:
    """Whether a server has kept in the directory what its proxies got."""
    return (Path(directory) / PROXIES).exists()


def made(directory: str, key_file: str) -> bytes:
    """Makes the directory if it is not there; returns the key in the file, b"" for none. Raises StateError."""
    try:
        key = Path(key_file).read_bytes().strip() if key_file else b""
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"{error.filename} cannot be used: {error.strerror}") from None
    if key_file and len(key) < KEY_BYTES:
        raise StateError(f"the key in {key_file} has {len(key)} bytes, which is easily guessed; it needs {KEY_BYTES}")
    return key


def _cipher(key: bytes) -> Any:
    """AES-GCM with a key derived from one of any length."""
    # Slow to import, and only needed with a key.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), length=32, salt=None, info=_SEALED).derive(key))
