"""The objects of all sources, decoded: the first of the three places that hold state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

import msgspec

from xds_server.diagnostics import Diagnostic, Level, ObjectRef, Position, diagnostic
from xds_server.incremental import EMPTY, Fixed, edited
from xds_server.kube.decode import Decoded, decode, kind_of
from xds_server.kube.kinds import KINDS
from xds_server.kube.meta import Object, Raw, Source
from xds_server.kube.snapshot import Snapshot, Table


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


class Changes(msgspec.Struct, frozen=True, eq=False):
    """What is new in a source since the last time. puts: of kinds that this server reads."""

    puts: tuple[Raw, ...] = ()
    gone: tuple[ObjectRef, ...] = ()


class _Contents(msgspec.Struct, eq=False):
    """What is kept of a source."""

    origin: str
    entries: dict[ObjectRef, Entry] = {}
    diagnostics: tuple[Diagnostic, ...] = ()

    def found(self) -> tuple[Diagnostic, ...]:
        """What is wrong with the source as a whole."""
        if self.entries or any(problem.level is Level.ERROR for problem in self.diagnostics):
            return self.diagnostics
        return (*self.diagnostics, diagnostic("XDS1009", None, source=self.origin))


class Store:
    """Takes what sources have and makes snapshots of it. One writer: its methods are called by one thread.

    order: names of sources, the most important first; it wins where two have the same object. No snapshot is made
    before each of them was applied once. Sources that are not named come after, as they first appear.
    known: the last good form of what sources had before this process; it counts for what is broken when they are
    applied first.

    snapshot: the newest; number 0 before there is any.
    """

    def __init__(self, order: Sequence[str] = (), known: Mapping[str, Iterable[Raw]] = MappingProxyType({})) -> None:
        self.snapshot = Snapshot()
        self._order = list(order)
        self._contents: dict[str, _Contents] = {}
        self._known = dict(known)
        self._touched: set[ObjectRef] = set()
        self._found: dict[ObjectRef, tuple[Diagnostic, ...]] = {}
        self._found_at_large: tuple[Diagnostic, ...] = ()

    def apply(self, source_name: str, batch: Batch) -> Snapshot:
        """The snapshot with this batch in the place of the source's former one; the same as before if nothing changed.

        What has the digest that it had before is not decoded again and stays the same object.
        """
        if source_name not in self._order:
            self._order.append(source_name)
        former = self._contents[source_name].entries if source_name in self._contents else {}
        contents = self._contents[source_name] = _contents(batch, former or self._before(source_name))
        for ref in former.keys() | contents.entries.keys():
            if former.get(ref) is not contents.entries.get(ref):
                self._touched.add(ref)
        return self._renewed()

    def update(self, source_name: str, changes: Changes) -> Snapshot:
        """As `apply`, for a source that was applied before and tells its changes; costs as much as they do."""
        entries = self._contents[source_name].entries
        for raw in changes.puts:
            former = entries.get(raw.ref)
            entry = entries[raw.ref] = _entry(raw, former)
            if entry is not former:
                self._touched.add(raw.ref)
        for ref in changes.gone:
            if entries.pop(ref, None) is not None:
                self._touched.add(ref)
        return self._renewed()

    def good(self, source_name: str, only: Iterable[ObjectRef] | None = None) -> dict[ObjectRef, bytes]:
        """The digest of the last good form of each object of a source, or of some of them."""
        entries = self._contents[source_name].entries
        found = entries if only is None else {ref: entries[ref] for ref in only if ref in entries}
        return {ref: entry.good_digest for ref, entry in found.items() if entry.good is not None}

    def _before(self, source_name: str) -> Mapping[ObjectRef, Entry]:
        """What a source had before this process; once."""
        return {raw.ref: _entry(raw, None) for raw in self._known.pop(source_name, ()) if kind_of(raw) is not None}

    def _renewed(self) -> Snapshot:
        if all(name in self._contents for name in self._order):
            self.snapshot = self._edited(self.snapshot)
        return self.snapshot

    def _edited(self, old: Snapshot) -> Snapshot:
        """The snapshot with what sources say now of the objects that were touched; the old one if nothing differs."""
        winners: dict[ObjectRef, Entry | None] = {}
        is_found_anew = False
        for ref in _in_order(self._touched):
            winners[ref], found = self._decided(ref)
            is_found_anew |= found != self._found.pop(ref, ())
            if found:
                self._found[ref] = found
        self._touched.clear()
        at_large = tuple(chain.from_iterable(self._contents[name].found() for name in self._order))
        is_found_anew |= at_large != self._found_at_large
        self._found_at_large = at_large
        new = Snapshot(
            number=old.number + 1,
            by_type=_by_type(old.by_type, winners),
            sources=_sources(old.sources, winners),
            last_good=_last_good(old.last_good, winners),
            diagnostics=_sorted({*at_large, *chain(*self._found.values())}) if is_found_anew else old.diagnostics,
        )
        return old if old.number and _same(old, new) else new

    def _decided(self, ref: ObjectRef) -> tuple[Entry | None, tuple[Diagnostic, ...]]:
        """The entry that counts, and what is wrong with the object. The only place where sources compete."""
        found = [self._contents[name].entries.get(ref) for name in self._order]
        entries = [entry for entry in found if entry is not None]
        if not entries:
            return None, ()
        first, *others = entries
        return first, (*first.diagnostics, *(_duplicate(ref, other.source, first.source) for other in others))


def snapshot_of(*batches: Batch) -> Snapshot:
    """The snapshot of batches alone, the most important first, for commands that read once."""
    store = Store([str(number) for number in range(len(batches))])
    for number, batch in enumerate(batches):
        store.apply(str(number), batch)
    return store.snapshot


def _contents(batch: Batch, former: Mapping[ObjectRef, Entry]) -> _Contents:
    found = list(batch.diagnostics)
    unknown: dict[tuple[str, str], Raw] = {}
    firsts: dict[ObjectRef, Raw] = {}
    others: list[Raw] = []
    for raw in batch.raws:
        if kind_of(raw) is None:
            kind = raw.api_version, raw.ref.kind
            unknown[kind] = min(raw, unknown.get(kind, raw), key=_place)
            continue
        first = firsts.setdefault(raw.ref, raw)
        if first is not raw:
            firsts[raw.ref], other = sorted((first, raw), key=_place)
            others.append(other)
    found.extend(_duplicate(other.ref, other.source, firsts[other.ref].source) for other in others)
    entries = {ref: _entry(raw, former.get(ref)) for ref, raw in firsts.items()}
    for ref, entry in former.items():
        if ref not in entries and _is_in(entry.source.file, batch.broken):
            entries[ref] = msgspec.structs.replace(entry, missing=True)
    found.extend(_unknown(raw) for raw in unknown.values())
    return _Contents(batch.origin, entries, tuple(found))


def _in_order(refs: Iterable[ObjectRef]) -> Iterator[ObjectRef]:
    """Sorted, one kind at a time: a thread that sorts does not let others run."""
    kinds: dict[tuple[str, str], list[ObjectRef]] = {}
    for ref in refs:
        kinds.setdefault((ref.group, ref.kind), []).append(ref)
    for kind in sorted(kinds):
        yield from sorted(kinds[kind])


def _place(raw: Raw) -> tuple[object, ...]:
    source = raw.source
    return (source.file, source.start, str(source.root), raw.ref, raw.digest)


def _is_in(file: str, broken: frozenset[str]) -> bool:
    return any(file == path or file.startswith(path.rstrip("/") + "/") for path in broken)


def _entry(raw: Raw, former: Entry | None) -> Entry:
    if former is not None and former.digest == raw.digest:
        if _same_source(former.source, raw.source) and not former.missing:
            return former
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


def _by_type(
    old: Mapping[type[Object], Table[Any]], winners: Mapping[ObjectRef, Entry | None]
) -> Mapping[type[Object], Table[Any]]:
    """A table in which nothing changes is the old one; kinds without objects have none."""
    edits: dict[type[Object], dict[tuple[str, str], Object | None]] = {}
    for ref, entry in winners.items():
        edits.setdefault(KINDS[ref.group, ref.kind].type, {})[ref.namespace, ref.name] = (
            entry.object if entry is not None else None
        )
    tables = {**old, **{kind: edited(old.get(kind, EMPTY), changes) for kind, changes in edits.items()}}
    return {kind: table for kind, table in sorted(tables.items(), key=_by_name) if table}


def _by_name(item: tuple[type[Object], Table[Any]]) -> tuple[str, str]:
    return item[0].GROUP, item[0].KIND


def _sources(old: Fixed[ObjectRef, Source], winners: Mapping[ObjectRef, Entry | None]) -> Fixed[ObjectRef, Source]:
    return edited(old, {ref: entry.source if entry is not None else None for ref, entry in winners.items()})


def _last_good(old: frozenset[ObjectRef], winners: Mapping[ObjectRef, Entry | None]) -> frozenset[ObjectRef]:
    new = {ref for ref, entry in winners.items() if entry is not None and entry.is_last_good}
    return (old - winners.keys()) | new


def _sorted(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(sorted(found, key=Diagnostic.sort_key))


def _same(old: Snapshot, new: Snapshot) -> bool:
    return (
        old.by_type.keys() == new.by_type.keys()
        and all(old.by_type[kind] is table for kind, table in new.by_type.items())
        and old.last_good == new.last_good
        and old.diagnostics == new.diagnostics
        and old.sources is new.sources
    )


def _same_source(old: Source, new: Source) -> bool:
    return old is new or msgspec.structs.astuple(old) == msgspec.structs.astuple(new)
