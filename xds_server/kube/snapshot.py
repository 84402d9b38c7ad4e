"""All objects at one moment: the input of the translation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from xds_server.diagnostics import Diagnostic, ObjectRef
from xds_server.kube.meta import Object, Source

T = TypeVar("T", bound=Object)


class Snapshot(msgspec.Struct, frozen=True, eq=False):
    """Immutable. An object whose content did not change is the same object as in the snapshot before.

    number: counts up within one process.
    by_type: class -> (namespace, name) -> object, sorted by that key.
    sources: where each object was read, also of those that could not be decoded.
    last_good: objects whose newest form is broken, so that an older one is used.
    diagnostics: what was found while reading and decoding.
    """

    number: int = 0
    by_type: Mapping[type[Object], Mapping[tuple[str, str], Any]] = {}
    sources: Mapping[ObjectRef, Source] = {}
    last_good: frozenset[ObjectRef] = frozenset()
    diagnostics: tuple[Diagnostic, ...] = ()

    def of(self, kind: type[T]) -> Mapping[tuple[str, str], T]:
        """The objects of one kind: (namespace, name) -> object. Names are unique in it."""
        return self.by_type.get(kind, {})
