"""What sources tell is written in a thread and published on the event loop, in order."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from tests.unit.test_store import batch, names, service
from xds_server.diagnostics import ObjectRef
from xds_server.intake import Intake
from xds_server.kept_objects import KeptObjects
from xds_server.kube.snapshot import Snapshot
from xds_server.sources.condition import Condition
from xds_server.sources.health import Health
from xds_server.state_file import StateFile
from xds_server.store import Batch, Changes, Store


class Held(Store):
    """A store whose writer stops before each batch until it is let go."""

    def __init__(self, *order: str) -> None:
        super().__init__(order)
        self.go = threading.Semaphore(0)
        self.threads: set[int] = set()

    def apply(self, source_name: str, batch: Batch) -> Snapshot:
        self.go.acquire()
        self.threads.add(threading.get_ident())
        return super().apply(source_name, batch)


def intake_of(store: Store, kept: KeptObjects | None = None) -> Intake:
    return Intake(store, Health(("a", "b"), lambda: 0.0), kept)


async def test_followers_get_the_newest_snapshot() -> None:
    intake = intake_of(Store(["a"]))
    follower = intake.changes.follow()
    assert (await anext(follower)).number == 0
    waiting = asyncio.ensure_future(anext(follower))
    await intake.take("a", batch(a=service("a")))
    assert names(await waiting) == ["a"]
    before = intake.changes.value
    await intake.take("a", Changes())
    assert intake.changes.value is before, "nothing changed"


async def test_the_loop_goes_on_while_a_batch_is_written() -> None:
    store = Held("a")
    intake = intake_of(store)
    taking = asyncio.create_task(intake.take("a", batch(a=service("a"))))
    await asyncio.sleep(0)
    await intake.take("b", Condition(lost=("b",)))  # would never be if the loop waited for the writer
    assert not taking.done()
    store.go.release()
    await taking
    assert names(intake.changes.value) == ["a"]
    assert threading.get_ident() not in store.threads


async def test_what_is_told_is_published_in_its_order_by_one_writer() -> None:
    store = Held("a", "b")
    intake = intake_of(store)
    told = [("a", "one"), ("b", "two"), ("a", "three"), ("b", "four")]
    taking = [asyncio.create_task(intake.take(name, batch(**{text: service(text)}))) for name, text in told]
    seen: list[Any] = []

    for one in taking:
        await asyncio.sleep(0)
        assert not one.done()
        store.go.release()
        await one
        seen.append(sorted(names(intake.changes.value)))
    assert seen == [[], ["one", "two"], ["three", "two"], ["four", "three"]]
    assert len(store.threads) == 1


async def test_what_was_given_up_before_it_was_published_comes_with_the_next() -> None:
    store = Held("a", "b")
    intake = intake_of(store)
    given_up = asyncio.create_task(intake.take("a", batch(a=service("a"))))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait({given_up})
    store.go.release(2)
    await intake.take("b", batch(b=service("b")))
    assert names(intake.changes.value) == ["a", "b"]


async def test_the_last_good_form_of_a_change_is_kept_too(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "objects")
    kept = KeptObjects(file)
    intake = intake_of(Store(["a"]), kept)
    saving = asyncio.create_task(kept.run())
    await intake.take("a", batch(a=service("a"), b=service("b")))
    [newer] = batch(a=service("a", "{clusterIP: 10.0.0.1}")).raws
    gone = ObjectRef("", "Service", "default", "b")
    await intake.take("a", Changes((newer,), (gone,)))
    saving.cancel()
    await asyncio.wait({saving})
    assert [raw.digest for raws in KeptObjects(file).load().values() for raw in raws] == [newer.digest]
