from __future__ import annotations

import asyncio

from xds_server.fleet import Fleet
from xds_server.kube.snapshot import Snapshot
from xds_server.latest import Latest
from xds_server.readiness import Readiness
from xds_server.sources.condition import Condition
from xds_server.sources.health import Health
from xds_server.store import Batch

LOST = Condition(lost=("services: connection refused",))


async def test_ready_is_who_answers_and_stale_is_who_answers_with_something_old() -> None:
    now = [0.0]
    health = Health(["cluster"], lambda: now[0])
    fleet = Fleet(Latest(Snapshot()))
    readiness = Readiness(fleet, health, lambda: now[0])

    def said() -> tuple[list[str], list[str], float]:
        return readiness.not_ready(), readiness.stale(), readiness.last_good_seconds()

    health.tell("cluster", LOST)
    assert said() == (["cluster was not read yet: services: connection refused"], [], 0.0)

    fleet.answering.set()  # with what is kept
    fleet.stale_since, now[0] = 1.0, 4.0
    old = "proxies get what they got before the server started"
    assert said() == ([], [f"{old}: cluster was not read yet: services: connection refused"], 3.0)
    health.tell("cluster", Batch("cluster"))
    assert said() == ([], [f"{old}: the sources are being translated"], 3.0)

    fleet.stale_since = None  # as it does after the first round
    health.tell("cluster", Condition())
    assert said() == ([], [], 0.0)
    health.tell("cluster", LOST)
    now[0] = 6.0
    assert said() == ([], ["what was read before is in use: services: connection refused"], 0.0)
    readiness.draining = True
    assert readiness.not_ready() == ["the server is going away"]


async def test_a_server_that_was_never_ready_says_why() -> None:
    health = Health(["cluster"], asyncio.get_running_loop().time)
    readiness = Readiness(Fleet(Latest(Snapshot())), health, asyncio.get_running_loop().time)
    health.tell("cluster", Batch("cluster"))
    assert readiness.not_ready() == ["nothing was translated yet"]
