"""What every group of proxies got last, on disk: a server that starts while its sources cannot be read serves it again.

The file holds the configuration of the proxies, so it is readable by its owner only. Secrets are left out unless asked
for: a proxy keeps those that it has.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

import msgspec

from xds_server.envoy.resource import SECRET, Resource
from xds_server.mesh.proxy import Proxy

_MAGIC = b"xds-server last good 1\n"
_DIGEST = 32
LIMIT = 256 * 2**20  # bytes; a configuration that needs more is not kept


class Remembered(msgspec.Struct, frozen=True, eq=False):
    """What one group got last."""

    proxy: Proxy
    resources: tuple[Resource, ...]


class LastGoodError(Exception):
    """The file cannot be used; the text says why."""


class LastGood:
    """path: the file. secrets: whether private keys are kept too."""

    def __init__(self, path: Path, secrets: bool = False) -> None:
        self._path = path
        self._secrets = secrets

    def load(self) -> Mapping[Proxy, tuple[Resource, ...]]:
        """What was saved; nothing if there is no file. Raises LastGoodError when the file is damaged."""
        try:
            raw = self._path.read_bytes() if self._path.stat().st_size <= LIMIT else b""
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise LastGoodError(f"{self._path} cannot be read: {error.strerror}") from None
        head, body = raw[: len(_MAGIC) + _DIGEST], raw[len(_MAGIC) + _DIGEST :]
        if head != _MAGIC + blake2b(body, digest_size=_DIGEST).digest():
            raise LastGoodError(f"{self._path} is damaged or of another version")
        try:
            groups = msgspec.msgpack.decode(body, type=tuple[Remembered, ...])
        except msgspec.MsgspecError as error:
            raise LastGoodError(f"{self._path} cannot be understood: {error}") from None
        return {group.proxy: group.resources for group in groups}

    def save(self, groups: Iterable[Remembered]) -> None:
        """Replaces the file in one step. Raises LastGoodError when that is not possible; the old file stays."""
        kept = tuple(Remembered(g.proxy, tuple(r for r in g.resources if self._keeps(r))) for g in groups)
        body = msgspec.msgpack.encode(kept)
        if len(body) > LIMIT:
            raise LastGoodError(f"{len(body)} bytes are more than the {LIMIT} that are kept")
        try:
            self._replace(_MAGIC + blake2b(body, digest_size=_DIGEST).digest() + body)
        except OSError as error:
            raise LastGoodError(f"{self._path} cannot be written: {error.strerror}") from None

    def _keeps(self, resource: Resource) -> bool:
        return self._secrets or resource.type_url != SECRET

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
