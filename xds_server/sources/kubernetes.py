"""A cluster as a source: every kind is listed and watched, and told to the store when all of them are known."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from xds_server.diagnostics import ObjectRef
from xds_server.kube.meta import Raw
from xds_server.sources.condition import Condition
from xds_server.sources.kubernetes_api import Access, Api, Unreachable
from xds_server.sources.kubernetes_json import Reader, refusal, secret_names
from xds_server.sources.kubernetes_resources import SECRETS, Resource, Scope, resources, secret
from xds_server.sources.listwatch import (
    Began,
    Broken,
    Change,
    Command,
    Due,
    Ended,
    Event,
    List,
    ListWatch,
    Phase,
    Replace,
    Wait,
    Watch,
    differences,
)
from xds_server.store import Batch, Changes

LIST_SECONDS = 60.0
"""How long one page of a list, or a streamed list, may take."""
SPARE_SECONDS = 30.0
"""How much longer than asked a watch may last."""
BEAT_SECONDS = 2.0
"""How often the API server is asked whether it is there. An open watch that is silent tells nothing."""
GATHER_SECONDS = 0.005
"""Changes that arrive within this time are told together."""
_LONGEST_LINE = 64 << 20
_SHOWN = 5

News = Batch | Changes | Condition
"""A Batch once, when everything is known; then Changes. A Condition whenever it is another one."""
Tell = Callable[[News], Awaitable[None]]


async def watch(access: Access, scope: Scope, tell: Tell) -> None:
    """Tells everything in a cluster, and every change, until it is cancelled. Raises NoAccess.

    `tell` is awaited before anything else is told.
    """
    api = Api(access)
    await api.connect()
    try:
        await _Cluster(api, scope, tell).run()
    finally:
        await api.close()


class Incomplete(Exception):
    """Not everything could be read; the text says what."""


async def read(access: Access, scope: Scope, seconds: float) -> Batch:
    """Everything in a cluster now. Raises NoAccess, and Incomplete when it takes longer than `seconds`."""
    done: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()
    conditions = [Condition()]

    async def tell(news: News) -> None:
        if isinstance(news, Condition):
            conditions.append(news)
        elif isinstance(news, Batch) and not done.done():
            done.set_result(news)

    watching = asyncio.ensure_future(watch(access, scope, tell))
    try:
        either: list[asyncio.Future[Any]] = [done, watching]
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        if not done.done():
            last = conditions[-1]
            raise Incomplete(f"not everything could be read in {seconds:g} s: {'; '.join((*last.lost, *last.waiting))}")
        return done.result()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


class _Cluster:
    """The lists and watches of one cluster, and what they found that was not told yet."""

    def __init__(self, api: Api, scope: Scope, tell: Tell) -> None:
        self._api, self._scope, self._tell = api, scope, tell
        self._follows: dict[Resource, _Follow] = {}
        self._tasks: asyncio.TaskGroup
        self._silence = ""  # why the API server does not answer small questions
        self._condition = Condition()
        self._is_told = False
        self._is_due = asyncio.Event()
        self._found: list[tuple[_Follow, Replace | Change]] = []  # and not looked at yet
        self._puts: dict[ObjectRef, Raw] = {}
        self._gone: set[ObjectRef] = set()
        self._references: dict[ObjectRef, frozenset[str]] = {}  # object -> names of secrets

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            for resource in resources(self._scope):
                self._follow(resource)
            self._tasks.create_task(self._tell_all())
            await self._beat()

    def _follow(self, resource: Resource) -> None:
        follow = self._follows[resource] = _Follow(self._api, resource, self._take)
        follow.task = self._tasks.create_task(follow.run(), name=str(resource))

    def _take(self, *found: tuple[_Follow, Replace | Change]) -> None:
        """Takes what a follow found, or only that it is in another state; tells all of it a little later."""
        self._found += found
        self._is_due.set()

    async def _tell_all(self) -> None:
        """Tells what changed, a little after it did. An exception of `tell` is a bug and ends everything."""
        while True:
            await self._is_due.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._is_due.clear()
            await self._flush()

    async def _flush(self) -> None:
        settled = {follow for follow in self._follows.values() if follow.is_settled}  # nothing of theirs comes later
        found, self._found = self._found, []
        await asyncio.to_thread(self._gather, found)
        self._follow_referenced()
        if settled.issuperset(self._follows.values()):
            puts, gone = tuple(self._puts.values()), tuple(self._gone)
            self._puts, self._gone = {}, set()
            if not self._is_told:
                self._is_told = True
                await self._tell(Batch(f"cluster {self._api.name}", puts))
            elif puts or gone:
                await self._tell(Changes(puts, gone))
        condition = self._condition_now()
        if condition != self._condition:
            self._condition = condition
            await self._tell(condition)

    def _gather(self, found: list[tuple[_Follow, Replace | Change]]) -> None:
        """Finds out what differs. In a thread, one at a time: a list may have thousands of objects."""
        for follow, command in found:
            puts, gone = differences(follow.known, command)
            for raw in puts:
                self._puts[raw.ref] = raw
                self._gone.discard(raw.ref)
                self._refer(raw.ref, raw)
            for ref in gone:
                self._puts.pop(ref, None)
                self._gone.add(ref)
                self._refer(ref, None)

    def _refer(self, ref: ObjectRef, raw: Raw | None) -> None:
        if self._scope.secrets == "referenced":
            self._references.pop(ref, None)
            if raw is not None and (names := secret_names(raw)):
                self._references[ref] = names

    def _follow_referenced(self) -> None:
        """Follows the secrets that are referred to now, and no others. Until they are known, nothing is told, so
        that no server is seen without its certificate."""
        if self._scope.secrets != "referenced":
            return
        names = frozenset().union(*self._references.values())
        wanted = {resource for name in names for resource in secret(name, self._scope)}
        for resource in wanted - self._follows.keys():
            self._follow(resource)
        secrets = [one for one in self._follows if (one.group, one.kind) == SECRETS]
        for resource in [one for one in secrets if one not in wanted]:
            follow = self._follows.pop(resource)
            follow.task.cancel()
            self._take((follow, Replace(())))

    def _condition_now(self) -> Condition:
        follows = self._follows.values()
        waiting = [str(one.resource) for one in follows if not one.is_settled and not one.is_lost]
        lost = [f"{one.resource}: {one.machine.trouble}" for one in follows if one.is_lost]
        left_out = [f"{one.resource}: {one.machine.trouble}" for one in follows if one.is_left_out]
        silence = [f"cluster {self._api.name}: {self._silence}"] if self._silence else []
        return Condition(_first(waiting), _first(silence + lost), _first(left_out))

    async def _beat(self) -> None:
        """Notices that the API server is gone, or hangs; then gives up what is open, which tries again by itself."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            silence = ""
            try:
                if (status := await self._api.status("/readyz")) >= 500:
                    silence = f"the API server is not ready ({status})"
            except Unreachable as reason:
                silence = f"the API server does not answer: {reason}"
                for follow in self._follows.values():
                    follow.give_up()
            if silence != self._silence:
                self._silence = silence
                self._take()


def _first(sentences: list[str]) -> tuple[str, ...]:
    more = [f"and {len(sentences) - _SHOWN} more"] if len(sentences) > _SHOWN else []
    return tuple(sentences[:_SHOWN] + more)


class _Follow:
    """The list and watch of one resource: does what the machine says, and tells it what came of it.

    take: is given what the machine says of the objects, and nothing when only the state is another one.
    known: the objects that were there when that was looked at last, and their digests.
    """

    def __init__(self, api: Api, resource: Resource, take: Callable[..., None]) -> None:
        self.resource = resource
        self.machine = ListWatch(len(resource.versions))
        self.known: dict[ObjectRef, bytes] = {}
        self.task: asyncio.Task[None]
        self._api, self._take = api, take
        self._reader = Reader(resource, api.name)
        self._deadline: asyncio.Timeout | None = None
        self._state: object = None

    @property
    def is_left_out(self) -> bool:
        return self.machine.is_forbidden and not self.machine.is_synced and self.resource.is_optional

    @property
    def is_settled(self) -> bool:
        return self.machine.is_synced or self.is_left_out

    @property
    def is_lost(self) -> bool:
        return bool(self.machine.trouble) and not self.is_left_out

    def give_up(self) -> None:
        """Ends the request that is open, as if it had taken too long."""
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        request = self._obey(self.machine.start(random.random()))
        while request is not None:
            async with aclosing(self._events(request)) as events:
                request = None
                async for event in events:
                    request = self._obey(self.machine.receive(event, random.random()))
                    if request is not None:
                        break
        raise AssertionError("the last event of a request leads to the next one")

    def _obey(self, commands: list[Command]) -> Command | None:
        """Does what can be done at once; returns the request or wait."""
        following: Command | None = None
        for command in commands:
            if isinstance(command, Replace | Change):
                self._take((self, command))
            else:
                following = command
        state = (self.machine.is_synced, self.machine.is_forbidden, self.machine.trouble)
        if state != self._state:
            self._state = state
            self._take()
        return following

    async def _events(self, request: Command) -> AsyncGenerator[Event, None]:
        """What comes of a request or wait. The last event is one that the machine answers with the next request."""
        if isinstance(request, Wait):
            await asyncio.sleep(request.seconds)
            yield Due()
            return
        assert isinstance(request, List | Watch)
        clock = asyncio.get_running_loop().time
        start = clock()
        try:
            async with asyncio.timeout(_limit(request)) as self._deadline:
                async with self._api.get(self.resource.url(request)) as answer:
                    if answer.status != 200:
                        yield await self._refused(answer)
                    elif isinstance(request, List):
                        yield await asyncio.to_thread(self._reader.page, await answer.read(), request.api_version)
                    else:
                        async with aclosing(self._lines(answer, request)) as lines:
                            async for event in lines:
                                yield event
                        yield Ended(clock() - start)
        except Unreachable as reason:
            yield Broken(str(reason), clock() - start)
        except TimeoutError:
            yield Broken("the API server does not answer", clock() - start)
        finally:
            self._deadline = None

    async def _lines(self, answer: Any, request: Watch) -> AsyncGenerator[Event, None]:
        yield Began()
        is_list = not request.version
        rest = b""
        async for chunk in answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    yield self._reader.line(line, request.api_version)
            if is_list and self.machine.phase is Phase.WATCHING and self._deadline is not None:
                is_list = False  # it is complete, and goes on as a watch
                self._deadline.reschedule(asyncio.get_running_loop().time() + request.seconds + SPARE_SECONDS)
            if len(rest) > _LONGEST_LINE:
                yield Broken(f"an event is longer than {_LONGEST_LINE} bytes")

    async def _refused(self, answer: Any) -> Event:
        body: bytes = await answer.read()
        found = refusal(answer.status, body, answer.headers.get("Retry-After", ""))
        if found.status == 401:
            await self._api.renew()
        if found.status == 404 and await self._api.status("/readyz") >= 500:
            return Broken("the API server is starting")  # and does not know its custom resources yet
        return found


def _limit(request: List | Watch) -> float:
    """After how many seconds to give up."""
    return request.seconds + SPARE_SECONDS if isinstance(request, Watch) and request.version else LIST_SECONDS
