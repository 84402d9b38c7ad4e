"""Objects from a directory of YAML and JSON files, a single file, or stdin; read once or watched.

Whatever happens, the directory is read again as a whole: editors save by renaming, and a ConfigMap volume swaps the
symlink `..data`, so that the events alone say little. Files that did not change are not opened.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path

import msgspec
import watchfiles

from xds_server.diagnostics import Diagnostic, Position, diagnostic
from xds_server.sources.yaml import MAX_FILE_BYTES, Loaded, load, too_large
from xds_server.store import Batch

STDIN = "-"
SUFFIXES = (".yaml", ".yml", ".json")
QUIET_MILLISECONDS = 50
"""A change is read when there was none for this long, so that a file is not caught while it is written."""
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
    """One look at the whole directory. files, failures: by name; failures are of what cannot be read."""

    batch: Batch
    files: Mapping[str, File] = {}
    failures: Mapping[str, Diagnostic] = {}


_NOTHING = Reading(Batch(""))


def read(directory: str) -> Batch:
    """Everything in a directory, a file, or stdin (`-`). What cannot be read is a diagnostic (XDS1002)."""
    return look(directory).batch


def look(directory: str, last: Reading = _NOTHING) -> Reading:
    """Reads again what changed since the last look; its batch is the same object if nothing did."""
    if directory == STDIN:
        loaded = load(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "<stdin>")
        return Reading(_batch("stdin", {"<stdin>": loaded}, {}))
    now = time.time_ns()
    files: dict[str, File] = {}
    failures: dict[str, Diagnostic] = {}
    for name, failure in _walk(directory):
        try:
            if failure is not None:
                raise failure
            files[name] = _file(name, last.files.get(name), now)
        except OSError as error:
            failures[name] = _unreadable(name, error.strerror or str(error))
    if _same(files, last.files) and failures == last.failures and last is not _NOTHING:
        return Reading(last.batch, files, failures)
    batch = _batch(directory, {name: file.loaded for name, file in files.items()}, failures)
    return Reading(batch, files, failures)


async def watch(directory: str, look_milliseconds: int = LOOK_MILLISECONDS) -> AsyncGenerator[Batch, None]:
    """What is in the directory now, then again after every change that alters it. Never ends by itself.

    A directory that disappears gives a batch that says so, and is found again when it is back. Reading is done in
    a thread.
    """
    reading = _NOTHING
    while True:
        async with aclosing(_changes(directory, look_milliseconds)) as changes:
            change = asyncio.ensure_future(anext(changes, False))
            try:
                await asyncio.sleep(0)  # lets the watcher begin, so that nothing is lost between it and the reading
                is_watched = True
                while is_watched:
                    latest = await asyncio.to_thread(look, directory, reading)
                    if latest.batch is not reading.batch:
                        yield latest.batch
                    reading = latest
                    is_watched = await change
                    change = asyncio.ensure_future(anext(changes, False))
            finally:
                change.cancel()
                await asyncio.gather(change, return_exceptions=True)


async def _changes(directory: str, look_milliseconds: int) -> AsyncGenerator[bool, None]:
    """True when it is time to look; ends when the directory must be watched anew, because it is another one."""
    identity = _identity(directory)
    if identity is not None:
        try:
            async for _ in watchfiles.awatch(
                directory,
                watch_filter=None,
                step=QUIET_MILLISECONDS,
                debounce=10 * QUIET_MILLISECONDS,
                rust_timeout=look_milliseconds,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            ):
                if _identity(directory) != identity:
                    return
                yield True
        except (OSError, RuntimeError):  # watchfiles' own errors are RuntimeErrors
            pass  # gone again, or the system has no watches left: looking from time to time must do
    await asyncio.sleep(min(look_milliseconds, MISSING_MILLISECONDS) / 1000)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _walk(root: str) -> Iterator[tuple[str, OSError | None]]:
    """The files below a directory, sorted by name, each with why it cannot be read. Links are followed, but nothing
    is named twice. Hidden entries are left out: editors' and a ConfigMap volume's own (`..data`)."""
    if not os.path.isdir(root):
        yield root, None
        return
    names: list[tuple[str, str, OSError | None]] = []  # each with its real path
    seen: set[tuple[int, int]] = set()
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
        real = os.path.realpath(directory)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_directory(entry):
                pending.append(entry.path)
            elif entry.name.endswith(SUFFIXES):
                # Asking the system for each real path would be most of the work in a directory of thousands.
                path = os.path.realpath(entry.path) if entry.is_symlink() else f"{real}/{entry.name}"
                names.append((entry.path, path, None))
    named: set[str] = set()
    for name, path, failure in sorted(names, key=lambda found: found[0]):
        if path not in named:
            named.add(path)
            yield name, failure


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


def _same(files: Mapping[str, File], last: Mapping[str, File]) -> bool:
    return files.keys() == last.keys() and all(file.loaded is last[name].loaded for name, file in files.items())


def _batch(origin: str, files: Mapping[str, Loaded], failures: Mapping[str, Diagnostic]) -> Batch:
    return Batch(
        origin,
        tuple(raw for loaded in files.values() for raw in loaded.raws),
        (*failures.values(), *(found for loaded in files.values() for found in loaded.diagnostics)),
        frozenset([*failures, *(name for name, loaded in files.items() if loaded.broken)]),
    )
