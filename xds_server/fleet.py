"""The proxies by group, and for each group the newest configuration. It follows the snapshots and translates them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any, Protocol

import msgspec
import structlog

from xds_server import translate as translation
from xds_server.breath import SLICE, Breath
from xds_server.diagnostics import Diagnostic, Found, diagnostic
from xds_server.envoy.resource import CLUSTER, ENDPOINT, TYPES, Resource, Resources, keyed
from xds_server.incremental import changed
from xds_server.keeping import Keeping, Served
from xds_server.kube.snapshot import Snapshot
from xds_server.last_good import LastGood
from xds_server.latest import Latest
from xds_server.memo import Generations, Memo
from xds_server.mesh.proxy import Proxy
from xds_server.pace import Pace
from xds_server.state_file import StateError
from xds_server.translate import Translation
from xds_server.xds.group import Group, Settled, offered, words
from xds_server.xds.request import Meaning
from xds_server.xds.session import Verdict
from xds_server.xds.shared import Shared
from xds_server.xds.states import TypeStatus
from xds_server.xds.tally import Tally

Translate = Callable[[Snapshot, Proxy, Memo], Translation]

_IDLE_GROUPS = 16  # groups without a proxy that are remembered: a proxy that comes back finds its quarantine

log = structlog.get_logger()


class ProxyStatus(msgspec.Struct, frozen=True):
    """A connected stream. variant: "sotw" or "delta". connected: seconds since it began. The `since` of its types is
    in seconds ago."""

    node: str
    proxy: Proxy
    user_agent: str
    variant: str
    peer: str
    connected: float
    types: tuple[TypeStatus, ...]


class Member(Protocol):
    """A stream that belongs to a group."""

    node: str
    loses_what_is_left_out: bool  # by a response: SotW

    def wake(self) -> None:
        """Told that the group is offered something new. Must not block."""

    def status(self) -> ProxyStatus: ...


class LiveGroup:
    """A proxy group and its streams. Only the fleet changes it."""

    def __init__(self, proxy: Proxy, remembered: Iterable[Resource] = ()) -> None:
        self.proxy = proxy
        self.state = Group(remembered)
        self.members: dict[Member, None] = {}
        self.found: Found = ()
        self.offered = 0.0  # when the newest change was offered, on the loop's clock
        self.ready = asyncio.Event()


class Fleet:
    """changes: the newest snapshot; number 0 stands for sources that were not read yet, and nothing is offered
    before. translate: `translate.translate`, or a stand-in for it.
    last_good: where to keep what the proxies got. If there is no snapshot within `patience` seconds, they get that.

    synced: set once the first snapshot was taken up. answering: set once streams are answered, perhaps from
    `last_good`. stale_since: when it began to serve that, on the loop's clock; None while it does not."""

    def __init__(
        self,
        changes: Latest[Snapshot],
        translate: Translate = translation.translate,
        last_good: LastGood | None = None,
        patience: float = 5.0,
    ) -> None:
        self.shared = Shared()
        self.breath = Breath()
        self.synced = asyncio.Event()
        self.answering = asyncio.Event()
        self.stale_since: float | None = None
        self.tally = Tally()
        self._changes = changes
        self._translate = translate
        self._memo = Generations()
        self._groups: dict[Proxy, LiveGroup] = {}
        self._idle: dict[Proxy, None] = {}  # groups without a proxy, the newest last
        self._snapshot: Snapshot | None = None
        self._last_good = last_good
        self._patience = patience
        self._remembered: dict[Proxy, tuple[Resource, ...]] | None = None if last_good else {}
        self._keeping = Keeping(last_good, self._served) if last_good else None
        self._one_at_a_time = asyncio.Lock()
        self._recalling = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "translate")

    async def run(self) -> None:
        """Follows the snapshots until it is cancelled."""
        remembering = asyncio.create_task(self._remember())
        pace = Pace()
        clock = asyncio.get_running_loop().time
        snapshots = aiter(self._changes.follow())
        upcoming = asyncio.ensure_future(anext(snapshots))
        try:
            while True:
                await asyncio.wait({upcoming}, timeout=pace.remaining(clock()))
                if upcoming.done():
                    pace.arrive(upcoming.result(), clock())
                    upcoming = asyncio.ensure_future(anext(snapshots))
                snapshot = pace.take(clock())
                if snapshot is not None:
                    await self._round(snapshot)
        finally:
            upcoming.cancel()
            remembering.cancel()
            await asyncio.wait({upcoming, remembering})
            self._thread.shutdown(wait=False)

    async def join(self, proxy: Proxy, member: Member) -> LiveGroup:
        """Adds a stream to its group; returns once the group has a configuration."""
        remembered = await self._recall()
        group = self._groups.pop(proxy, None) or LiveGroup(proxy, remembered.get(proxy, ()))
        self._groups[proxy] = group  # the newest last
        group.members[member] = None
        self._idle.pop(proxy, None)
        try:
            if self.answering.is_set() and not self.synced.is_set():
                await self._offer_remembered(group)
            if not group.ready.is_set() and self._snapshot is not None:
                async with self._one_at_a_time:
                    if not group.ready.is_set():
                        await self._offer((group,), self._snapshot)
            await group.ready.wait()
            if self._keeping and member.loses_what_is_left_out:
                await self._keeping.up_to_date()
        except BaseException:
            self.leave(group, member)
            raise
        return group

    def leave(self, group: LiveGroup, member: Member) -> None:
        """Removes a stream. Groups that no proxy needed for the longest time are forgotten."""
        group.members.pop(member, None)
        if not group.members:
            self._idle[group.proxy] = None
        while len(self._idle) > _IDLE_GROUPS:
            proxy = next(iter(self._idle))
            del self._idle[proxy], self._groups[proxy]
            if self._remembered:
                self._remembered.pop(proxy, None)

    def judge(self, group: LiveGroup, member: Member, verdict: Verdict) -> None:
        """Takes what a proxy said of a response."""
        if verdict.meaning is Meaning.ACK:
            self.tally.answered(verdict.type_url, verdict.waited)
        else:
            self.tally.nacks[verdict.type_url] += 1
            self._report(group, member, verdict)
        if group.state.judge(member.node, verdict):
            self._note_change()
            self._wake(group)

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """One row for each stream that is connected."""
        return tuple(member.status() for group in self._groups.values() for member in group.members)

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What is wrong with the objects, and what the proxies refuse. What several groups have may be there several
        times, as to find that out takes a while."""
        found = {id(some): some for group in self._groups.values() for some in group.found}
        refused = (group.state.diagnostics() for group in self._groups.values())
        return tuple(chain.from_iterable((*found.values(), *refused)))

    def groups(self) -> tuple[LiveGroup, ...]:
        return tuple(self._groups.values())

    async def _round(self, snapshot: Snapshot) -> None:
        """Brings every group to a snapshot."""
        async with self._one_at_a_time:
            self._snapshot = snapshot
            await self._offer(tuple(self._groups.values()), snapshot)
            forgotten = self.shared.turn()
            await asyncio.get_running_loop().run_in_executor(self._thread, self._forget, forgotten)
        if self.stale_since is not None:
            seconds = round(asyncio.get_running_loop().time() - self.stale_since, 3)
            log.info("the sources were read; proxies no longer get what they got before", seconds=seconds)
            self.stale_since = None
        self.synced.set()
        self.answering.set()

    async def _offer(self, groups: Sequence[LiveGroup], snapshot: Snapshot) -> None:
        # In a thread, so that pushes and answers go on; the input is immutable and only one thread translates.
        loop = asyncio.get_running_loop()
        todo = deque(groups)
        while todo:
            results = await loop.run_in_executor(self._thread, self._translations, snapshot, tuple(todo))
            for result, new, seconds in results:
                await self._take(todo.popleft(), result, new, seconds)

    def _translations(
        self, snapshot: Snapshot, groups: Iterable[LiveGroup]
    ) -> list[tuple[Translation | Exception, Settled | None, float]]:
        """Those for the first groups, each with the seconds that it took: one that takes long, or many that take none
        because they see what others see."""
        results: list[tuple[Translation | Exception, Settled | None, float]] = []
        began = before = time.perf_counter()
        for group in groups:
            new = None
            try:
                result: Translation | Exception = self._translate(snapshot, group.proxy, self._memo)
                if isinstance(result, Translation):
                    new = self._settled(group, result.resources)
            except Exception as bug:
                result = bug
            now = time.perf_counter()
            results.append((result, new, now - before))
            before = now
            if now - began > SLICE:
                break
        return results

    def _settled(self, group: LiveGroup, resources: Resources) -> Settled:
        """In the thread."""
        return group.state.settle(resources, self._memo, self.shared.intern)

    def _forget(self, forgotten: dict[Any, Any]) -> None:
        """In the thread and one by one, as what is let go at once holds everything up."""
        for results in (self._memo.turn(), forgotten):
            while results:
                results.popitem()

    async def _take(
        self, group: LiveGroup, result: Translation | Exception, new: Settled | None, seconds: float
    ) -> None:
        if isinstance(result, Exception) or new is None:
            log.error("translation failed; the proxies keep what they have", group=repr(group.proxy), exc_info=result)
            await self._offer_remembered(group)
            return
        group.found = result.found
        group.offered = asyncio.get_running_loop().time()
        self.tally.translation.observe(seconds)
        await self._keep_before_it_is_sent(group, result.resources)
        is_other = group.state.offer(new)
        group.ready.set()
        if is_other:
            self._note_change()
            await self._wake_all(group)

    async def _keep_before_it_is_sent(self, group: LiveGroup, resources: Resources) -> None:
        """A client of SotW loses what a response leaves out. So a server that is killed while proxies move to new
        clusters must know these when it is back, to offer them until the routes are newer still."""
        if self._keeping is None or not any(member.loses_what_is_left_out for member in group.members):
            return
        before = group.state.resources.by_type[CLUSTER]
        clusters, endpoints = resources.by_type[CLUSTER], resources.by_type[ENDPOINT]
        new = [name for name in changed(before, clusters) if name in clusters and name not in before]
        if new:
            wanted = [*(clusters[name] for name in new), *(endpoints[name] for name in new if name in endpoints)]
            await self._keeping.will_get(group.proxy, wanted)

    def _note_change(self) -> None:
        if self._keeping:
            self._keeping.changed()

    async def _remember(self) -> None:
        """Reads what was kept, serves it if the sources stay away, and then keeps what is served."""
        if self._keeping is None:
            return
        remembered = await self._recall()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.synced.wait(), self._patience)
        if not self.synced.is_set() and remembered:
            log.warning("the sources could not be read; serving what proxies got before", groups=len(remembered))
            self.stale_since = asyncio.get_running_loop().time()
            for group in list(self._groups.values()):
                await self._offer_remembered(group)
            self.answering.set()
        await self._keeping.run()

    def _served(self) -> Served:
        """What each group gets, also those whose proxies did not come back yet; the newest last."""
        served: dict[Proxy, Callable[[], Iterable[Resource]]] = {
            proxy: partial(tuple, resources) for proxy, resources in (self._remembered or {}).items()
        }
        for proxy, group in self._groups.items():
            if group.ready.is_set() and group.state.published:
                served.pop(proxy, None)
                served[proxy] = partial(offered, group.state.published)
            else:
                served.setdefault(proxy, tuple)
        return served

    async def _recall(self) -> dict[Proxy, tuple[Resource, ...]]:
        """What the server before this one gave to its groups."""
        async with self._recalling:
            if self._remembered is None:
                self._remembered = await asyncio.get_running_loop().run_in_executor(self._thread, self._loaded)
        return self._remembered

    def _loaded(self) -> dict[Proxy, tuple[Resource, ...]]:
        try:
            return dict(self._last_good.load()) if self._last_good else {}
        except StateError as error:
            log.warning("what proxies got before is unknown", reason=str(error))
            return {}

    async def _offer_remembered(self, group: LiveGroup) -> None:
        resources = (await self._recall()).get(group.proxy)
        if resources is None or group.ready.is_set():
            return
        loop = asyncio.get_running_loop()
        new = await loop.run_in_executor(self._thread, lambda: self._settled(group, keyed(resources)))
        if not group.ready.is_set():
            group.found = ((diagnostic("XDS7003", None),),)
            group.offered = loop.time()
            group.state.offer(new)
            group.ready.set()
            self._wake(group)

    async def _wake_all(self, group: LiveGroup) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        for member in tuple(group.members):
            if member in group.members:  # it may have left meanwhile
                member.wake()
            if clock() - began > SLICE:
                await asyncio.sleep(0)
                began = clock()

    def _wake(self, group: LiveGroup) -> None:
        for member in group.members:
            member.wake()

    def _report(self, group: LiveGroup, member: Member, verdict: Verdict) -> None:
        """Every refusal is logged once: when the culprits are known, or nobody can be blamed."""
        say = log.debug if verdict.searching else log.warning
        say(
            "a proxy refused a response",
            node=member.node,
            type=_SHORT.get(verdict.type_url, verdict.type_url),
            resources=[resource.name for resource in verdict.culprits],
            origins=[str(origin.ref) for resource in verdict.culprits for origin in resource.origins],
            words=words(verdict.message),
        )


_SHORT = {type_url: short for short, type_url in TYPES.items()}
