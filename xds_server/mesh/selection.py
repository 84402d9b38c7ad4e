"""Which objects select a workload by its labels, found without a look at all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from xds_server.incremental import Fixed, partitioned
from xds_server.kube.meta import Object
from xds_server.memo import Memo
from xds_server.mesh.endpoints import selects

T = TypeVar("T", bound=Object)
Named = tuple[str, str]
"""Namespace and name."""

ANY_NAMESPACE = "*"

Selectors = Fixed[tuple[str, Named], Fixed[Named, tuple[Mapping[str, str], T]]]
"""Namespace, or `*`, and one label that is selected -> the objects that ask for it, with all that they select."""
SelectorsView = Mapping[tuple[str, Named], Mapping[Named, tuple[Mapping[str, str], T]]]
"""The same, also as functions of `derived` see them."""


def selectors(
    memo: Memo, name: str, selector: Callable[[T], Mapping[str, str]], objects: Fixed[Named, T]
) -> Selectors[T]:
    """Objects with an empty selector select nothing."""

    def spread(key: Named, value: T) -> Iterator[tuple[Any, Named, tuple[Mapping[str, str], T]]]:
        wanted = selector(value)
        if wanted:
            for namespace in (key[0], ANY_NAMESPACE):
                yield (namespace, min(wanted.items())), key, (wanted, value)

    return partitioned(memo, ("selectors", name), spread, objects)


def selecting(index: SelectorsView[T], namespace: str, labels: Mapping[str, str]) -> Iterator[T]:
    """Those of a namespace that select these labels, sorted by namespace and name."""
    found = {
        key: value
        for pair in labels.items()
        for key, (wanted, value) in index.get((namespace, pair), {}).items()
        if selects(wanted, labels)
    }
    for key in sorted(found):
        yield found[key]
