"""What every group of proxies got last, on disk: a server that starts while its sources cannot be read serves it again.

Secrets are left out unless the file is encrypted: a proxy keeps those that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

import msgspec

from xds_server.envoy.resource import SECRET, Resource
from xds_server.mesh.proxy import Proxy
from xds_server.state_file import StateError, StateFile

_PAGE = 500  # resources that are encoded in one go; between two, other threads may run

Groups = Mapping[Proxy, tuple[Resource, ...]]
Rows = Iterable[tuple[Proxy, Iterable[Resource]]]


class _Content(msgspec.Struct, frozen=True, eq=False):
    """Each resource once, as groups share most of theirs. pages: lists of encoded resources. groups: which of them each
    has, by number."""

    pages: tuple[bytes, ...]
    groups: tuple[tuple[Proxy, tuple[int, ...]], ...]


class LastGood:
    """The groups in a file, and beside it what they may have got since that was written."""

    def __init__(self, file: StateFile) -> None:
        self._file, self._more = file, file.beside(".more")

    def load(self) -> Groups:
        """What was saved; nothing if there is no file. Raises StateError when the file is damaged."""
        more, groups = (
            _read(self._more),
            _read(self._file),
        )  # in this order it is right while another process saves, too
        return {proxy: together(groups.get(proxy, ()), more.get(proxy, ())) for proxy in (*groups, *more)}

    def save(self, groups: Rows) -> None:
        """Replaces the file in one step. Raises StateError when that is not possible; the old file stays."""
        _write(self._file, groups)
        self._more.remove()

    def add(self, groups: Rows) -> None:
        """What counts beside what is in the file, until the next `save` or `add`. Raises StateError."""
        _write(self._more, groups)


def together(resources: Iterable[Resource], more: Iterable[Resource]) -> tuple[Resource, ...]:
    """Both; of two with the same name the first counts."""
    rows: dict[tuple[str, str], Resource] = {}
    for resource in chain(resources, more):
        rows.setdefault((resource.type_url, resource.name), resource)
    return tuple(rows.values())


def _read(file: StateFile) -> Groups:
    body = file.read()
    if body is None:
        return {}
    try:
        content = msgspec.msgpack.decode(body, type=_Content)
        resources = [r for page in content.pages for r in msgspec.msgpack.decode(page, type=tuple[Resource, ...])]
        return {proxy: tuple(resources[number] for number in numbers) for proxy, numbers in content.groups}
    except (msgspec.MsgspecError, IndexError) as error:
        raise StateError(f"{file.path} cannot be understood: {error}") from None


def _write(file: StateFile, groups: Rows) -> None:
    numbers: dict[tuple[str, str, str], int] = {}
    distinct: list[Resource] = []
    rows: list[tuple[Proxy, tuple[int, ...]]] = []
    for proxy, resources in groups:
        row: list[int] = []
        for resource in resources:
            if resource.type_url == SECRET and not file.is_encrypted:
                continue
            key = resource.type_url, resource.name, resource.version
            number = numbers.setdefault(key, len(distinct))
            if number == len(distinct):
                distinct.append(resource)
            row.append(number)
        rows.append((proxy, tuple(row)))
    # Sequences that are no tuples are kept as such.
    encode = msgspec.msgpack.Encoder(enc_hook=tuple).encode
    pages = (encode(distinct[at : at + _PAGE]) for at in range(0, len(distinct), _PAGE))
    file.write(msgspec.msgpack.encode(_Content(tuple(pages), tuple(rows))))
