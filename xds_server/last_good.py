"""What every group of proxies got last, on disk: a server that starts while its sources cannot be read serves it again.

The file holds the configuration of the proxies, so it is readable by its owner only. Secrets are left out unless there
is a key to encrypt the file with: a proxy keeps those that it has.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from xds_server.envoy.resource import SECRET, Resource
from xds_server.mesh.proxy import Proxy

_PLAIN = b"xds-server last good 2\n"
_SEALED = b"xds-server last good 2, encrypted\n"
_DIGEST = 32
_NONCE = 12
_PAGE = 500  # resources that are encoded in one go; between two, other threads may run
LIMIT = 256 * 2**20  # bytes; a configuration that needs more is not kept
FILE = "proxies"
KEY_BYTES = 16  # the least that a key must have

Groups = Mapping[Proxy, tuple[Resource, ...]]


class _Content(msgspec.Struct, frozen=True, eq=False):
    """Each resource once, as groups share most of theirs. pages: lists of encoded resources. groups: which of them each
    has, by number."""

    pages: tuple[bytes, ...]
    groups: tuple[tuple[Proxy, tuple[int, ...]], ...]


class LastGoodError(Exception):
    """The file cannot be used; the text says why."""


def opened(directory: str, key_file: str = "") -> LastGood:
    """What is kept in a directory, which is made if it is not there. Raises LastGoodError."""
    try:
        key = Path(key_file).read_bytes().strip() if key_file else b""
        if key_file and len(key) < KEY_BYTES:
            raise LastGoodError(
                f"the key in {key_file} has {len(key)} bytes, which is easily guessed; it needs {KEY_BYTES}"
            )
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LastGoodError(f"{error.filename} cannot be used: {error.strerror}") from None
    return LastGood(Path(directory) / FILE, key)


def any_in(directory: str) -> bool:
    """Whether something is kept in the directory."""
    return (Path(directory) / FILE).exists()


class LastGood:
    """path: the file. key: encrypts it, and then secrets are kept too; of any length, but not guessable."""

    def __init__(self, path: Path, key: bytes = b"") -> None:
        self._path = path
        self._cipher = _cipher(key) if key else None

    def load(self) -> Groups:
        """What was saved; nothing if there is no file. Raises LastGoodError when the file is damaged."""
        try:
            raw = self._path.read_bytes() if self._path.stat().st_size <= LIMIT else b""
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise LastGoodError(f"{self._path} cannot be read: {error.strerror}") from None
        try:
            content = msgspec.msgpack.decode(self._opened(raw), type=_Content)
            resources = [r for page in content.pages for r in msgspec.msgpack.decode(page, type=tuple[Resource, ...])]
            return {proxy: tuple(resources[number] for number in numbers) for proxy, numbers in content.groups}
        except (msgspec.MsgspecError, IndexError) as error:
            raise LastGoodError(f"{self._path} cannot be understood: {error}") from None

    def save(self, groups: Iterable[tuple[Proxy, Iterable[Resource]]]) -> None:
        """Replaces the file in one step. Raises LastGoodError when that is not possible; the old file stays."""
        numbers: dict[tuple[str, str, str], int] = {}
        distinct: list[Resource] = []
        rows: list[tuple[Proxy, tuple[int, ...]]] = []
        for proxy, resources in groups:
            row: list[int] = []
            for resource in resources:
                if not self._cipher and resource.type_url == SECRET:
                    continue
                key = resource.type_url, resource.name, resource.version
                number = numbers.setdefault(key, len(distinct))
                if number == len(distinct):
                    distinct.append(resource)
                row.append(number)
            rows.append((proxy, tuple(row)))
        pages = (msgspec.msgpack.encode(distinct[at : at + _PAGE]) for at in range(0, len(distinct), _PAGE))
        content = self._closed(msgspec.msgpack.encode(_Content(tuple(pages), tuple(rows))))
        if len(content) > LIMIT:
            raise LastGoodError(f"{len(content)} bytes are more than the {LIMIT} that are kept")
        try:
            self._replace(content)
        except OSError as error:
            raise LastGoodError(f"{self._path} cannot be written: {error.strerror}") from None

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
            raise LastGoodError(f"{self._path} is damaged or of another version")
        if mark is _PLAIN:
            return body
        if not self._cipher:
            raise LastGoodError(f"{self._path} is encrypted, and there is no key for it")
        from cryptography.exceptions import InvalidTag

        try:
            opened: bytes = self._cipher.decrypt(body[:_NONCE], body[_NONCE:], _SEALED)
            return opened
        except InvalidTag:
            raise LastGoodError(f"{self._path} was encrypted with another key") from None

    def _replace(self, content: bytes) -> None:
        number, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)  # of mode 0600
        try:
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def _cipher(key: bytes) -> Any:
    """AES-GCM with a key derived from one of any length."""
    # Slow to import, and only needed with a key.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), length=32, salt=None, info=_SEALED).derive(key))
