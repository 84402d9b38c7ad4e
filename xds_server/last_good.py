"""What every group of proxies got last, on disk: a server that starts while its sources cannot be read serves it again.

Secrets are left out unless the file is encrypted: a proxy keeps those that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from xds_server.envoy.resource import SECRET, Resource
from xds_server.mesh.proxy import Proxy
from xds_server.state_file import StateError, StateFile

_PAGE = 500  # resources that are encoded in one go; between two, other threads may run

Groups = Mapping[Proxy, tuple[Resource, ...]]


class _Content(msgspec.Struct, frozen=True, eq=False):
    """Each resource once, as groups share most of theirs. pages: lists of encoded resources. groups: which of them each
    has, by number."""

    pages: tuple[bytes, ...]
    groups: tuple[tuple[Proxy, tuple[int, ...]], ...]


class LastGood:
    """The groups in a file."""

    def __init__(self, file: StateFile) -> None:
        self._file = file

    def load(self) -> Groups:
        """What was saved; nothing if there is no file. Raises StateError when the file is damaged."""
        body = self._file.read()
        if body is None:
            return {}
        try:
            content = msgspec.msgpack.decode(body, type=_Content)
            resources = [r for page in content.pages for r in msgspec.msgpack.decode(page, type=tuple[Resource, ...])]
            return {proxy: tuple(resources[number] for number in numbers) for proxy, numbers in content.groups}
        except (msgspec.MsgspecError, IndexError) as error:
            raise StateError(f"{self._file.path} cannot be understood: {error}") from None

    def save(self, groups: Iterable[tuple[Proxy, Iterable[Resource]]]) -> None:
        """Replaces the file in one step. Raises StateError when that is not possible; the old file stays."""
        numbers: dict[tuple[str, str, str], int] = {}
        distinct: list[Resource] = []
        rows: list[tuple[Proxy, tuple[int, ...]]] = []
        for proxy, resources in groups:
            row: list[int] = []
            for resource in resources:
                if resource.type_url == SECRET and not self._file.is_encrypted:
                    continue
                key = resource.type_url, resource.name, resource.version
                number = numbers.setdefault(key, len(distinct))
                if number == len(distinct):
                    distinct.append(resource)
                row.append(number)
            rows.append((proxy, tuple(row)))
        pages = (msgspec.msgpack.encode(distinct[at : at + _PAGE]) for at in range(0, len(distinct), _PAGE))
        self._file.write(msgspec.msgpack.encode(_Content(tuple(pages), tuple(rows))))
