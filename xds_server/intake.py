"""What sources tell: their objects go to the store, how they are to the operator."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from xds_server.kept_objects import KeptObjects
from xds_server.kube.snapshot import Snapshot
from xds_server.latest import Latest
from xds_server.settings import KUBERNETES
from xds_server.sources.condition import Condition
from xds_server.sources.health import Health
from xds_server.sources.kubernetes import News
from xds_server.store import Batch, Changes, Store


class Intake:
    """changes: the newest snapshot, published on the event loop.

    The store belongs to a thread of its own, so that thousands of objects keep nobody waiting. There is only one, so
    the store has one writer, nothing overtakes what was told before it, and snapshots come out in their order.
    """

    def __init__(self, store: Store, health: Health, kept: KeptObjects | None = None) -> None:
        self.changes: Latest[Snapshot] = Latest(store.snapshot)
        self._store, self._health, self._kept = store, health, kept
        self._thread = ThreadPoolExecutor(1, "store")

    async def take(self, name: str, news: News) -> None:
        """Takes what a source tells; returns once the snapshot with it is published."""
        if not isinstance(news, Condition):
            loop = asyncio.get_running_loop()
            try:
                snapshot = await loop.run_in_executor(self._thread, self._write, name, news)
            finally:
                if self._kept:
                    self._kept.changed()
            if snapshot is not self.changes.value:
                self.changes.set(snapshot)
        self._health.tell(name, news)

    def _write(self, name: str, news: Batch | Changes) -> Snapshot:
        """In the thread."""
        kept = self._kept if name != KUBERNETES else None
        if isinstance(news, Batch):
            snapshot = self._store.apply(name, news)
            if kept:
                kept.take(name, news.raws, self._store.good(name))
            return snapshot
        snapshot = self._store.update(name, news)
        if kept:
            touched = {*(raw.ref for raw in news.puts), *news.gone}
            kept.take(name, news.puts, self._store.good(name, touched), touched)
        return snapshot
