"""`exportTo`: which namespaces see an object."""

from __future__ import annotations

from collections.abc import Iterable

EVERYWHERE = frozenset({"*"})


def exported_to(values: Iterable[str] | None, namespace: str, default: tuple[str, ...] = ()) -> frozenset[str]:
    """The namespaces that see an object of `namespace`; `*` for all. Nothing said means the mesh's default, or all.

    `.` is the object's own namespace, `~` none; `*` wins over the rest of a list.
    """
    seen = {namespace if value == "." else value for value in values or default}
    if not seen:
        return EVERYWHERE
    return EVERYWHERE if "*" in seen else frozenset(seen - {"~"})


def visible(exported: frozenset[str], namespace: str) -> bool:
    return "*" in exported or namespace in exported
