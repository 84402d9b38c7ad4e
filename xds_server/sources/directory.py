"""Objects from a directory of YAML and JSON files, a single file, or stdin; read once or watched.

Where events name plain files, only these are looked at. Whatever else happens, the directory is looked at as a whole:
a ConfigMap volume swaps the symlink `..data`, directories come and go, events get lost. Files that did not change are
not opened.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
import time
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path

import msgspec
import watchfiles

from xds_server.diagnostics import Diagnostic, ObjectRef, Position, diagnostic
from xds_server.kube.decode import kind_of
from xds_server.kube.meta import Raw
from xds_server.sources.yaml import MAX_FILE_BYTES, Loaded, load, too_large
from xds_server.store import Batch, Changes

STDIN = "-"
SUFFIXES = (".yaml", ".yml", ".json")
QUIET_MILLISECONDS = 20
"""A change is read when there was none for this long, so that a file is not caught while it is written."""
BUSY_MILLISECONDS = 500
"""Where changes do not stop, they are read this often."""
LOOK_MILLISECONDS = 5_000
"""How often to look even if nothing was noticed: for network file systems, and links to places outside."""
MISSING_MILLISECONDS = 1_000
"""How often to look for a directory that is not there."""
_RACY_NANOSECONDS = 2 * 10**9  # a file written again within the clock's tick looks unchanged; FAT ticks every 2 s


class File(msgspec.Struct, frozen=True, eq=False):
    """A file as it was read. signature: changes when the file does. is_settled: so long after its last change that
    the signature alone shows the next one. digest: of the content."""

    signature: tuple[int, ...]
    is_settled: bool
    digest: bytes
    loaded: Loaded


class Reading(msgspec.Struct, frozen=True, eq=False):
    """One look at the directory. files, failures: by name; failures are of what cannot be read. directories: those
    that the files are in. has_links: to one of them, or to a file. counts: how often each object is there.
    changes: since the last look, if they say everything; else the batch does."""

    batch: Batch
    files: Mapping[str, File] = {}
    failures: Mapping[str, Diagnostic] = {}
    directories: frozenset[str] = frozenset()
    has_links: bool = False
    counts: Mapping[ObjectRef, int] = {}
    changes: Changes | None = None


_NOTHING = Reading(Batch(""))


def read(directory: str) -> Batch:
    """Everything in a directory, a file, or stdin (`-`). What cannot be read is a diagnostic (XDS1002)."""
    return look(directory).batch


def look(directory: str, last: Reading = _NOTHING, touched: Collection[str] = ()) -> Reading:
    """Reads again what changed since the last look; its batch is the same object if nothing did.

    touched: the only names that have changed, if that is known.
    """
    if directory == STDIN:
        loaded = load(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "<stdin>")
        return Reading(_batch("stdin", {"<stdin>": loaded}, {}))
    now = time.time_ns()
    known = _touched(last, touched, now) if touched else None
    if known is not None:
        return _reading(directory, last, known, {}, _Tree([], last.directories), touched)
    tree = _walk(directory)
    files: dict[str, File] = {}
    failures: dict[str, Diagnostic] = {}
    for name, failure in tree.names:
        try:
            if failure is not None:
                raise failure
            files[name] = _file(name, last.files.get(name), now)
        except OSError as error:
            failures[name] = _unreadable(name, error.strerror or str(error))
    return _reading(directory, last, files, failures, tree, files.keys() | last.files.keys())


def _reading(
    directory: str,
    last: Reading,
    files: Mapping[str, File],
    failures: Mapping[str, Diagnostic],
    tree: _Tree,
    names: Collection[str],
) -> Reading:
    """names: of all files that may differ from the last."""
    differing = [name for name in names if _loaded(files, name) is not _loaded(last.files, name)]
    if not differing and failures == last.failures and last is not _NOTHING:
        return Reading(last.batch, files, failures, tree.directories, tree.has_links, last.counts)
    counts = dict(last.counts)
    for which, one in ((last.files, -1), (files, 1)):
        for raw in _raws(which, differing):
            counts[raw.ref] = counts.get(raw.ref, 0) + one
            if not counts[raw.ref]:
                del counts[raw.ref]
    batch = _batch(directory, {name: file.loaded for name, file in files.items()}, failures)
    clean = not (last is _NOTHING or last.batch.diagnostics or batch.diagnostics)
    changes = _difference(last, files, differing, counts) if clean else None
    return Reading(batch, files, failures, tree.directories, tree.has_links, counts, changes)


def _touched(last: Reading, touched: Collection[str], now: int) -> Mapping[str, File] | None:
    """All files, of which only these were looked at; None when that would not be enough."""
    if last.has_links or last.failures:
        return None
    files = dict(last.files)
    for name in touched:
        directory, base = os.path.split(name)
        try:
            is_plain = stat.S_ISREG(os.lstat(name).st_mode)
        except OSError:
            is_plain = name not in files and name not in last.directories  # it came and went
            if is_plain:
                continue
        if not is_plain or (name not in files and directory not in last.directories):
            return None
        if name not in files and (base.startswith(".") or not base.endswith(SUFFIXES)):
            continue
        try:
            files[name] = _file(name, files.get(name), now)
        except OSError:
            return None
    return files if len(files) == len(last.files) else dict(sorted(files.items()))


def _difference(
    last: Reading, files: Mapping[str, File], names: Collection[str], counts: Mapping[ObjectRef, int]
) -> Changes | None:
    """What differs in these files, where nothing was or is wrong; None if one of the objects is or was there twice."""
    before = {raw.ref: raw for raw in _raws(last.files, names)}
    after = {raw.ref: raw for raw in _raws(files, names)}
    if any(kind_of(raw) is None for raw in (*before.values(), *after.values())):
        return None
    if any(last.counts.get(ref, 0) > 1 or counts.get(ref, 0) > 1 for ref in before.keys() | after.keys()):
        return None
    return Changes(tuple(after.values()), tuple(before.keys() - after.keys()))


def _raws(files: Mapping[str, File], names: Collection[str]) -> Iterator[Raw]:
    return (raw for name in names for raw in _loaded(files, name).raws)


def _loaded(files: Mapping[str, File], name: str) -> Loaded:
    return files[name].loaded if name in files else _NO_OBJECTS


_NO_OBJECTS = Loaded()


async def watch(directory: str, look_milliseconds: int = LOOK_MILLISECONDS) -> AsyncGenerator[Batch | Changes, None]:
    """What is in the directory now, then again after every change that alters it, or only what changed. Never ends by
    itself.

    A directory that disappears gives a batch that says so, and is found again when it is back. Reading is done in
    a thread.
    """
    reading = _NOTHING
    while True:
        async with aclosing(_changes(directory, look_milliseconds)) as changes:
            change = asyncio.ensure_future(anext(changes, None))
            try:
                await asyncio.sleep(0)  # lets the watcher begin, so that nothing is lost between it and the reading
                touched: Collection[str] | None = ()
                while touched is not None:
                    latest = await asyncio.to_thread(look, directory, reading, touched)
                    if latest.batch is not reading.batch:
                        yield latest.changes or latest.batch
                    reading = latest
                    touched = await change
                    change = asyncio.ensure_future(anext(changes, None))
            finally:
                change.cancel()
                await asyncio.gather(change, return_exceptions=True)


async def _changes(directory: str, look_milliseconds: int) -> AsyncGenerator[Collection[str], None]:
    """The names of what changed when it is time to look, none to look at everything; ends when the directory must be
    watched anew, because it is another one."""
    identity = _identity(directory)
    if identity is not None:
        try:
            async for found in watchfiles.awatch(
                directory,
                watch_filter=None,
                step=QUIET_MILLISECONDS,
                debounce=BUSY_MILLISECONDS,
                rust_timeout=look_milliseconds,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            ):
                if _identity(directory) != identity:
                    return
                yield {name for _, name in found}
        except (OSError, RuntimeError):  # watchfiles' own errors are RuntimeErrors
            pass  # gone again, or the system has no watches left: looking from time to time must do
    await asyncio.sleep(min(look_milliseconds, MISSING_MILLISECONDS) / 1000)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class _Tree(msgspec.Struct, frozen=True, eq=False):
    """names: the files below a directory, sorted, each with why it cannot be read. directories, has_links: as those of
    a Reading."""

    names: list[tuple[str, OSError | None]]
    directories: frozenset[str] = frozenset()
    has_links: bool = False


def _walk(root: str) -> _Tree:
    """Links are followed, but nothing is named twice. Hidden entries are left out: editors' and a ConfigMap volume's
    own (`..data`)."""
    if not os.path.isdir(root):
        return _Tree([(root, None)], has_links=os.path.islink(root))
    names: list[tuple[str, str, OSError | None]] = []  # each with its real path
    seen: set[tuple[int, int]] = set()
    directories: list[str] = []
    has_links = False
    pending = [root]
    while pending:
        directory = pending.pop()
        try:
            status = os.stat(directory)
            # Sorted, so that of two links to one place the first by name counts; last first, as for a stack.
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            names.append((directory, os.path.realpath(directory), error))
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        directories.append(directory)
        real = os.path.realpath(directory)
        for entry in entries:
            has_links |= entry.is_symlink()
            if entry.name.startswith("."):
                continue
            if _is_directory(entry):
                pending.append(entry.path)
            elif entry.name.endswith(SUFFIXES):
                # Asking the system for each real path would be most of the work in a directory of thousands.
                path = os.path.realpath(entry.path) if entry.is_symlink() else f"{real}/{entry.name}"
                names.append((entry.path, path, None))
    named: dict[str, tuple[str, OSError | None]] = {}  # by the real path
    for name, path, failure in sorted(names, key=lambda found: found[0]):
        named.setdefault(path, (name, failure))
    return _Tree(list(named.values()), frozenset(directories), has_links)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _file(name: str, last: File | None, now: int) -> File:
    """The file, or the last reading of it if it did not change. Raises OSError."""
    status = os.stat(name)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is not a regular file")
    signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if last is not None and last.is_settled and last.signature == signature:
        return last
    is_settled = now - max(status.st_mtime_ns, status.st_ctime_ns) > _RACY_NANOSECONDS
    if status.st_size > MAX_FILE_BYTES:
        return File(signature, is_settled, b"", Loaded(diagnostics=(too_large(name, status.st_size),), broken=True))
    with Path(name).open("rb") as stream:
        content = stream.read(MAX_FILE_BYTES + 1)
    digest = hashlib.blake2b(content, digest_size=16).digest()
    if last is not None and last.digest == digest:
        return File(signature, is_settled, digest, last.loaded)
    if last is not None and not content.strip() and (last.loaded.raws or last.loaded.broken):
        return File(signature, is_settled, digest, _emptied(name))
    return File(signature, is_settled, digest, load(content, name, last.loaded if last is not None else Loaded()))


def _emptied(name: str) -> Loaded:
    """A file that had objects and is empty now: editors and shells empty a file before they write it."""
    return Loaded(diagnostics=(diagnostic("XDS1011", None, position=Position(name, 1, 1)),), broken=True)


def _unreadable(name: str, reason: str) -> Diagnostic:
    return diagnostic("XDS1002", None, position=Position(name, 1, 1), detail=f"it cannot be read: {reason}")


def _batch(origin: str, files: Mapping[str, Loaded], failures: Mapping[str, Diagnostic]) -> Batch:
    return Batch(
        origin,
        tuple(raw for loaded in files.values() for raw in loaded.raws),
        (*failures.values(), *(found for loaded in files.values() for found in loaded.diagnostics)),
        frozenset([*failures, *(name for name, loaded in files.items() if loaded.broken)]),
    )
