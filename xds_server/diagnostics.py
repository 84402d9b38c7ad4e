"""What the user got wrong, as values.

A `Diagnostic` says which object and field is wrong, what that affects and how to mend it. It never holds a
line number: the line is looked up in the source text when the diagnostic is shown (`sources/yaml.py`), so a
comment added at the top of a file changes no value here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain

import msgspec

from xds_server.catalogue import CATALOGUE, Level

__all__ = ["Diagnostic", "Found", "Level", "ObjectRef", "Path", "Position", "diagnostic", "format_path", "in_order"]

Path = tuple[str | int, ...]
"""A field in an object, from its root: ``("spec", "http", 0, "timeout")``."""


class ObjectRef(msgspec.Struct, frozen=True, order=True):
    """Names one object: API group without version (empty for core), kind, namespace (empty if none), name."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in a file. Lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Diagnostic(msgspec.Struct, frozen=True):
    """One finding.

    code: a key of `CATALOGUE`.
    message: what is wrong, with the values in question.
    ref, path: the object and the field; `ref` is None when no object could be read.
    position: set when the place is known already (a YAML error); otherwise it is looked up from ref and path.
    effect: what the traffic does because of it.
    suggestion: what to write instead.
    """

    code: str
    message: str
    ref: ObjectRef | None = None
    path: Path = ()
    position: Position | None = None
    effect: str = ""
    suggestion: str = ""

    @property
    def level(self) -> Level:
        return CATALOGUE[self.code].level

    def sort_key(self) -> tuple[object, ...]:
        """A total order that does not depend on the order of the input."""
        ref = self.ref or ObjectRef("", "", "", "")
        position = self.position or Position("", 0, 0)
        path = tuple(f"{step:06d}" if isinstance(step, int) else step for step in self.path)
        return (position, ref, path, self.code, self.message, self.effect, self.suggestion)


Found = tuple[Collection[Diagnostic], ...]
"""Diagnostics in collections, of which one that did not change is the same object: there may be thousands, and nobody
should have to look at them all because of one change elsewhere."""


def in_order(found: Found) -> tuple[Diagnostic, ...]:
    """Each once."""
    return tuple(sorted(set(chain.from_iterable(found)), key=Diagnostic.sort_key))


def diagnostic(
    code: str,
    ref: ObjectRef | None,
    path: Iterable[str | int] = (),
    *,
    position: Position | None = None,
    effect: str = "",
    suggestion: str = "",
    **values: object,
) -> Diagnostic:
    """A diagnostic whose message is the catalogue's template filled with `values`.

    Raises KeyError when the code is not in the catalogue or a value of its template is missing.
    """
    entry = CATALOGUE[code]
    return Diagnostic(
        code=code,
        message=entry.template.format(**values),
        ref=ref,
        path=tuple(path),
        position=position,
        effect=effect or entry.effect,
        suggestion=suggestion,
    )


def format_path(path: Path) -> str:
    """`("spec", "http", 0, "timeout")` -> `spec.http[0].timeout`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
