"""The last good form of the objects in files, on disk: after a restart a file that is broken costs nothing.

While the server runs, the store has it; a server that starts would know nothing of what a broken file held. Objects of
clusters are not kept: their API server has checked them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping

import msgspec
import structlog

from xds_server.diagnostics import ObjectRef
from xds_server.kube.meta import Raw
from xds_server.state_file import StateError, StateFile

_PAUSE = 1.0  # seconds between two savings

log = structlog.get_logger()

_Sources = dict[str, tuple[Raw, ...]]


class KeptObjects:
    """Secrets are left out unless the file is encrypted."""

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._raws: dict[str, dict[ObjectRef, Raw]] = {}
        self._is_saved = True
        self._unsaved = asyncio.Event()

    def load(self) -> Mapping[str, Iterable[Raw]]:
        """The objects of each source; nothing, and a line in the log, when the file cannot be used."""
        try:
            body = self._file.read()
            found = msgspec.msgpack.decode(body, type=_Sources) if body else {}
        except (StateError, msgspec.MsgspecError) as error:
            log.warning("the last good form of objects is unknown", reason=str(error))
            return {}
        self._raws = {name: {raw.ref: raw for raw in raws} for name, raws in found.items()}
        return found

    def take(
        self,
        source_name: str,
        newest: Iterable[Raw],
        good: Mapping[ObjectRef, bytes],
        only: Collection[ObjectRef] | None = None,
    ) -> None:
        """newest: what was read of a source. good: the digest of the last good form of each of its objects.
        only: the objects that this is about, if not all.

        May be called in a thread; `changed` then on the event loop."""
        former = self._raws.get(source_name, {})
        rest = {} if only is None else {ref: raw for ref, raw in former.items() if ref not in only}
        forms = {(raw.ref, raw.digest): raw for raw in (*former.values(), *newest)}
        taken = {ref: forms[ref, digest] for ref, digest in good.items() if (ref, digest) in forms and self._keeps(ref)}
        raws = {**rest, **taken}
        self._raws = {**self._raws, source_name: raws}  # another one, as `_save` may be looking at the old one
        if raws.keys() != former.keys() or any(former[ref].digest != raw.digest for ref, raw in taken.items()):
            self._is_saved = False

    def changed(self) -> None:
        """Something may have been taken."""
        if not self._is_saved:
            self._unsaved.set()

    async def run(self) -> None:
        """Saves after every change until it is cancelled, and once more then."""
        problem = ""
        try:
            while True:
                await self._unsaved.wait()
                said, problem = problem, await self._save()
                if problem and problem != said:
                    log.warning("the last good form of objects is not kept", reason=problem)
                await asyncio.sleep(_PAUSE)
        finally:
            if self._unsaved.is_set():
                await self._save()

    async def _save(self) -> str:
        """Returns why it was not possible."""
        self._unsaved.clear()
        self._is_saved = True
        content = {name: tuple(raws.values()) for name, raws in self._raws.items()}
        saving = asyncio.ensure_future(asyncio.to_thread(self._write, content))
        try:
            return await asyncio.shield(saving)
        finally:
            await asyncio.wait({saving})  # or an older state might be written after a newer one

    def _write(self, content: _Sources) -> str:
        try:
            self._file.write(msgspec.msgpack.encode(content))
        except StateError as error:
            return str(error)
        return ""

    def _keeps(self, ref: ObjectRef) -> bool:
        return self._file.is_encrypted or (ref.group, ref.kind) != ("", "Secret")
