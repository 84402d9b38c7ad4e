from __future__ import annotations

import asyncio
import time

from xds_server.breath import SLICE, Breath


async def pieces(breath: Breath, name: str, count: int, done: list[str], seconds: float) -> None:
    for _ in range(count):
        await breath.drawn()
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            pass
        done.append(name)


async def turns(done: list[str]) -> None:
    """Marks every turn of the loop."""
    while True:
        done.append("|")
        await asyncio.sleep(0)


async def test_pieces_that_take_a_slice_have_a_turn_each_in_their_order() -> None:
    breath, done = Breath(), list[str]()
    marking = asyncio.create_task(turns(done))
    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(pieces(breath, name, 3, done, 2 * SLICE))
    marking.cancel()
    found = "".join(done)
    assert found.replace("|", "") == "aabcabcbc", "who asks first comes first, and nobody waits for the first slice"
    assert max(map(len, found.split("|"))) == 1, found


async def test_pieces_that_take_nothing_share_a_slice() -> None:
    breath, done = Breath(), list[str]()
    marking = asyncio.create_task(turns(done))
    async with asyncio.TaskGroup() as tasks:
        for name in "ab" * 50:
            tasks.create_task(pieces(breath, name, 1, done, 0.0))
    marking.cancel()
    found = "".join(done)
    assert found.replace("|", "") == "ab" * 50
    assert max(map(len, found.split("|"))) > 10, found


async def test_who_gives_up_waiting_keeps_nobody_from_its_turn() -> None:
    breath, done = Breath(), list[str]()
    _, second, third = [asyncio.create_task(pieces(breath, name, 1, done, 2 * SLICE)) for name in "abc"]
    await asyncio.sleep(0)
    second.cancel()
    await third
    assert done == ["a", "c"]


async def test_who_comes_while_nobody_works_does_not_wait_for_those_that_come_later() -> None:
    breath, done = Breath(), list[str]()
    tasks = [asyncio.create_task(pieces(breath, name, 1, done, 0.0)) for name in "abc"]
    await asyncio.sleep(0)
    assert done == ["a", "b", "c"]
    await asyncio.gather(*tasks)


async def test_quiet_times_do_not_make_a_burst_hold_up_the_loop() -> None:
    breath, done = Breath(), list[str]()
    for _ in range(50):
        await breath.drawn()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    marking = asyncio.create_task(turns(done))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(40):
            tasks.create_task(pieces(breath, "a", 1, done, SLICE))
    marking.cancel()
    assert max(map(len, "".join(done).split("|"))) <= 2
