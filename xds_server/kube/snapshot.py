"""All objects at one moment: the input of the translation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec

from xds_server.diagnostics import Diagnostic, ObjectRef
from xds_server.incremental import EMPTY, Fixed
from xds_server.kube.meta import Object, Source

T = TypeVar("T", bound=Object)


Table: TypeAlias = Fixed[tuple[str, str], T]
"""(namespace, name) -> object."""


class Snapshot(msgspec.Struct, frozen=True, eq=False):
    """Immutable. An object whose content did not change is the same object as in the snapshot before.

    number: counts up within one process.
    by_type: class -> its objects; a table in which nothing changed is the same table as before.
    sources: where each object was read, also of those that could not be decoded.
    last_good: objects whose newest form is broken, so that an older one is used.
    diagnostics: what was found while reading and decoding.
    """

    number: int = 0
    by_type: Mapping[type[Object], Table[Any]] = {}
    sources: Fixed[ObjectRef, Source] = EMPTY
    last_good: frozenset[ObjectRef] = frozenset()
    diagnostics: tuple[Diagnostic, ...] = ()

    def of(self, kind: type[T]) -> Table[T]:
        """The objects of one kind."""
        return self.by_type.get(kind, EMPTY)
