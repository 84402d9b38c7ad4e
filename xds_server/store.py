"""The objects of all sources, decoded: the first of the three places that hold state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from xds_server.diagnostics import Diagnostic, Level, ObjectRef, Position, diagnostic
from xds_server.kube.decode import Decoded, decode, kind_of
from xds_server.kube.meta import Object, Raw, Source
from xds_server.kube.snapshot import Snapshot, Table
from xds_server.latest import Latest


class Batch(msgspec.Struct, frozen=True, eq=False):
    """Everything that one source has at a moment.

    origin: what was read, in words for messages: a directory, a cluster.
    broken: files, or directories, that could not be read as a whole; an object of theirs that is missing here stays.
    """

    origin: str
    raws: tuple[Raw, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    broken: frozenset[str] = frozenset()


class Entry(msgspec.Struct, frozen=True, eq=False):
    """One object of one source: its newest form, and the newest form that could be decoded.

    missing: it is not in the source now, but what it was read from is broken.
    """

    source: Source
    digest: bytes
    newest: Decoded
    good: Decoded | None
    good_digest: bytes
    missing: bool = False

    @property
    def object(self) -> Object | None:
        return self.good.object if self.good is not None else None

    @property
    def is_last_good(self) -> bool:
        return self.object is not None and (self.missing or self.newest.object is None)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        # Those of a missing object are about a text that is no longer there.
        return () if self.missing else self.newest.diagnostics


class _Contents(msgspec.Struct, frozen=True, eq=False):
    """What is kept of a source."""

    origin: str
    entries: Mapping[ObjectRef, Entry]
    diagnostics: tuple[Diagnostic, ...]


class Store:
    """Takes batches from sources and publishes snapshots. One writer: `apply` is called on the event loop.

    order: names of sources, the most important first; it wins where two have the same object. Sources that are not
    named come after, as they first appear.
    """

    def __init__(self, order: Sequence[str] = ()) -> None:
        self.changes: Latest[Snapshot] = Latest(Snapshot())
        self._order = list(order)
        self._contents: dict[str, _Contents] = {}

    def apply(self, source_name: str, batch: Batch) -> Snapshot:
        """The snapshot with this batch in the place of the source's former one; published if anything changed.

        What has the digest that it had before is not decoded again and stays the same object.
        """
        if source_name not in self._order:
            self._order.append(source_name)
        self._contents[source_name] = _contents(batch, self._contents.get(source_name))
        contents = [self._contents[name] for name in self._order if name in self._contents]
        old = self.changes.value
        new = _snapshot(contents, old)
        if _same(old, new):
            return old
        self.changes.set(new)
        return new


def snapshot_of(batch: Batch) -> Snapshot:
    """The snapshot of one batch alone, for commands that read once."""
    return _snapshot([_contents(batch, None)], Snapshot())


def _contents(batch: Batch, old: _Contents | None) -> _Contents:
    former = old.entries if old is not None else {}
    found = list(batch.diagnostics)
    unknown: dict[tuple[str, str], Raw] = {}
    entries: dict[ObjectRef, Entry] = {}
    for raw in sorted(batch.raws, key=_place):
        if kind_of(raw) is None:
            unknown.setdefault((raw.api_version, raw.ref.kind), raw)
        elif raw.ref in entries:
            found.append(_duplicate(raw.ref, raw.source, entries[raw.ref].source))
        else:
            entries[raw.ref] = _entry(raw, former.get(raw.ref))
    for ref, entry in former.items():
        if ref not in entries and _is_in(entry.source.file, batch.broken):
            entries[ref] = msgspec.structs.replace(entry, missing=True)
    found.extend(_unknown(raw) for raw in unknown.values())
    if not entries and not any(problem.level is Level.ERROR for problem in found):
        found.append(diagnostic("XDS1009", None, source=batch.origin))
    return _Contents(batch.origin, entries, tuple(found))


def _place(raw: Raw) -> tuple[object, ...]:
    source = raw.source
    return (source.file, source.start, str(source.root), raw.ref, raw.digest)


def _is_in(file: str, broken: frozenset[str]) -> bool:
    return any(file == path or file.startswith(path.rstrip("/") + "/") for path in broken)


def _entry(raw: Raw, former: Entry | None) -> Entry:
    if former is not None and former.digest == raw.digest:
        return msgspec.structs.replace(former, source=raw.source, missing=False)
    if former is not None and former.good is not None and former.good_digest == raw.digest:
        newest = former.good  # undone: the object from before the mistake
    else:
        newest = decode(raw)
    if newest.object is not None or former is None:
        return Entry(raw.source, raw.digest, newest, newest if newest.object is not None else None, raw.digest)
    return Entry(raw.source, raw.digest, newest, former.good, former.good_digest)


def _duplicate(ref: ObjectRef, again: Source, first: Source) -> Diagnostic:
    return diagnostic("XDS1008", ref, position=_position(again), first=first)


def _unknown(raw: Raw) -> Diagnostic:
    """Said once a kind, at the first object of it."""
    position = _position(raw.source)
    return diagnostic("XDS1006", raw.ref, position=position, kind=raw.ref.kind, api_version=raw.api_version)


def _position(source: Source) -> Position | None:
    return Position(source.file, source.start, 1) if source.file else None


def _snapshot(contents: Iterable[_Contents], old: Snapshot) -> Snapshot:
    entries: dict[ObjectRef, Entry] = {}
    diagnostics: list[Diagnostic] = []
    for content in contents:
        diagnostics.extend(content.diagnostics)
        for ref, entry in content.entries.items():
            if ref in entries:
                diagnostics.append(_duplicate(ref, entry.source, entries[ref].source))
            else:
                entries[ref] = entry
                diagnostics.extend(entry.diagnostics)
    entries = dict(sorted(entries.items(), key=itemgetter(0)))
    return Snapshot(
        number=old.number + 1,
        by_type=_by_type(entries, old),
        sources={ref: entry.source for ref, entry in entries.items()},
        last_good=frozenset(ref for ref, entry in entries.items() if entry.is_last_good),
        diagnostics=tuple(sorted(set(diagnostics), key=Diagnostic.sort_key)),
    )


def _by_type(entries: Mapping[ObjectRef, Entry], old: Snapshot) -> dict[type[Object], Table[Any]]:
    """The entries are sorted. A table in which nothing changed is the old one."""
    tables: dict[type[Object], Table[Any]] = {}
    for ref, entry in entries.items():
        if entry.object is not None:
            tables.setdefault(type(entry.object), Table())[ref.namespace, ref.name] = entry.object
    return {kind: _kept(table, old.by_type.get(kind)) for kind, table in tables.items()}


def _kept(new: Table[Any], old: Table[Any] | None) -> Table[Any]:
    if old is None or len(old) != len(new):
        return new
    same = all(old.get(key) is value for key, value in new.items())
    return old if same else new


def _same(old: Snapshot, new: Snapshot) -> bool:
    return (
        old.number > 0
        and old.by_type.keys() == new.by_type.keys()
        and all(old.by_type[kind] is table for kind, table in new.by_type.items())
        and old.last_good == new.last_good
        and old.diagnostics == new.diagnostics
        and old.sources.keys() == new.sources.keys()
        and all(_same_source(old.sources[ref], source) for ref, source in new.sources.items())
    )


def _same_source(old: Source, new: Source) -> bool:
    return old is new or msgspec.structs.astuple(old) == msgspec.structs.astuple(new)
