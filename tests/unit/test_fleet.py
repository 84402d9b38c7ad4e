from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.protocol.serving import until
from xds_server.envoy.resource import CLUSTER, EMPTY, Resource, keyed
from xds_server.fleet import Fleet
from xds_server.kube.snapshot import Snapshot
from xds_server.latest import Latest
from xds_server.memo import Memo
from xds_server.mesh.proxy import Proxy
from xds_server.translate import Translation


class Stream:
    node = "edge"
    loses_what_is_left_out = False

    def wake(self) -> None: ...

    def status(self) -> Any: ...


def on(number: int) -> Proxy:
    return Proxy(node=f"node-{number}")


def translate(snapshot: Snapshot, proxy: Proxy, memo: Memo) -> Translation:
    if proxy == on(1):
        raise ZeroDivisionError
    return Translation(EMPTY, ())


@pytest.fixture
async def fleet() -> Any:
    fleet = Fleet(Latest(Snapshot(number=1)), translate)
    running = asyncio.create_task(fleet.run())
    yield fleet
    running.cancel()
    await asyncio.wait({running})


async def test_of_the_groups_without_a_proxy_the_newest_are_remembered(fleet: Fleet) -> None:
    streams = {number: Stream() for number in range(2, 32)}
    groups = {number: await fleet.join(on(number), stream) for number, stream in streams.items()}
    for number in reversed(streams):
        fleet.leave(groups[number], streams[number])
    assert {group.proxy for group in fleet.groups()} == {on(number) for number in range(2, 18)}


async def test_a_group_that_a_proxy_came_back_to_is_remembered(fleet: Fleet) -> None:
    back, others = Stream(), {number: Stream() for number in range(3, 43)}
    fleet.leave(await fleet.join(on(2), back), back)
    group = await fleet.join(on(2), back)
    for number, stream in others.items():
        fleet.leave(await fleet.join(on(number), stream), stream)
    assert group in fleet.groups()


async def test_a_translation_that_fails_does_not_keep_the_others_waiting(fleet: Fleet) -> None:
    waiting = asyncio.create_task(fleet.join(on(1), Stream()))
    group = await fleet.join(on(2), Stream())
    assert group.state.published
    waiting.cancel()
    await asyncio.wait({waiting})


async def test_a_stream_that_left_is_not_woken() -> None:
    changes = Latest(Snapshot(number=1))
    woken: list[str] = []

    class Woken(Stream):
        def __init__(self, name: str, leaves: Stream | None = None) -> None:
            self.name, self.leaves = name, leaves

        def wake(self) -> None:
            woken.append(self.name)
            if self.leaves is not None:
                fleet.leave(fleet.groups()[0], self.leaves)

    def numbered(snapshot: Snapshot, proxy: Proxy, memo: Memo) -> Translation:
        return Translation(keyed([Resource(CLUSTER, "a", str(snapshot.number), (b"",))]), ())

    fleet = Fleet(changes, numbered)
    running = asyncio.create_task(fleet.run())
    last = Woken("last")
    first = Woken("first", leaves=last)
    group = await fleet.join(on(2), first)
    assert await fleet.join(on(2), last) is group
    woken.clear()
    changes.set(Snapshot(number=2))
    await until(lambda: bool(woken))
    await fleet.join(on(3), Stream())  # after the round
    assert woken == ["first"]
    running.cancel()
    await asyncio.wait({running})
