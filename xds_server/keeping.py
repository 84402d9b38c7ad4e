"""Keeps the last good state up to date on disk, beside the fleet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import structlog

from xds_server.envoy.resource import Resource
from xds_server.last_good import LastGood
from xds_server.mesh.proxy import Proxy
from xds_server.state_file import StateError

Served = Mapping[Proxy, Callable[[], Iterable[Resource]]]
"""What each group gets; flattened only where it is called, which may be in a thread."""

_GROUPS = 256  # groups kept on disk, also of proxies that did not come back yet
_PAUSE = 0.05  # seconds between two savings
_SHARE = 10  # nothing is saved for so many times the CPU time that a saving took: it costs 10 % of a core at most

log = structlog.get_logger()


class Keeping:
    """served: what the groups get now."""

    def __init__(self, last_good: LastGood, served: Callable[[], Served]) -> None:
        self._last_good = last_good
        self._served = served
        self._upcoming: dict[Proxy, Sequence[Resource]] = {}
        self._unsaved = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._problem = ""

    def changed(self) -> None:
        """Some group gets something else."""
        self._unsaved.set()

    async def will_get(self, proxy: Proxy, resources: Sequence[Resource]) -> None:
        """Returns once it is kept that a group may get these too; they count until the next saving."""
        self._upcoming[proxy] = resources
        try:
            async with self._one_at_a_time:
                await self._save()
        finally:
            self._upcoming.pop(proxy, None)
            self._unsaved.set()

    async def up_to_date(self) -> None:
        """Returns once all that the groups get is kept."""
        async with self._one_at_a_time:
            if self._unsaved.is_set():
                await self._save()

    async def run(self) -> None:
        """Saves soon after every change until it is cancelled, and once more then."""
        try:
            while True:
                await self._unsaved.wait()
                async with self._one_at_a_time:
                    seconds = await self._save()
                await asyncio.sleep(max(_PAUSE, seconds * _SHARE))
        finally:
            await self.up_to_date()

    async def _save(self) -> float:
        """Returns the seconds of CPU time that it took."""
        self._unsaved.clear()
        groups = list(self._served().items())[-_GROUPS:]
        saving = asyncio.ensure_future(asyncio.to_thread(_saved, self._last_good, groups, dict(self._upcoming)))
        try:
            said, (self._problem, seconds) = self._problem, await asyncio.shield(saving)
        finally:
            await asyncio.wait({saving})  # or an older state might be written after a newer one
        if self._problem and self._problem != said:
            log.warning("what proxies get is not kept", reason=self._problem)
        elif said and not self._problem:
            log.info("what proxies get is kept again")
        return seconds


def _saved(
    last_good: LastGood,
    groups: Iterable[tuple[Proxy, Callable[[], Iterable[Resource]]]],
    more: Mapping[Proxy, Sequence[Resource]],
) -> tuple[str, float]:
    """Saves; returns why that was not possible, and the seconds of CPU time that it took."""
    began = time.thread_time()
    try:
        last_good.save((proxy, _together(resources(), more.get(proxy, ()))) for proxy, resources in groups)
    except StateError as error:
        return str(error), 0.0
    return "", time.thread_time() - began


def _together(resources: Iterable[Resource], more: Iterable[Resource]) -> Iterable[Resource]:
    """Both; of two with the same name the first counts."""
    rows: dict[tuple[str, str], Resource] = {}
    for resource in chain(resources, more):
        rows.setdefault((resource.type_url, resource.name), resource)
    return rows.values()
