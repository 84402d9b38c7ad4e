from __future__ import annotations

from xds_server.sources.condition import Condition
from xds_server.sources.health import Health, SourceStatus
from xds_server.store import Batch, Changes

LOST = Condition(lost=("services: connection refused",))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_source_is_read_lost_and_found() -> None:
    clock = Clock()
    health = Health(["a", "b"], clock)
    health.tell("a", Batch("a"))
    health.tell("b", Condition(waiting=("pods",)))
    assert health.not_ready() == ["b was not read yet: pods"]
    health.tell("b", LOST)
    clock.now = 5.0
    assert health.not_ready() == ["b was not read yet: services: connection refused"]
    assert health.statuses()[1] == SourceStatus("b", False, 0.0, LOST.lost)
    health.tell("b", Condition())
    health.tell("b", Batch("b"))
    assert health.not_ready() == []
    health.tell("b", LOST)
    clock.now = 7.0
    health.tell("b", Condition(lost=("pods: also",)))
    clock.now = 8.5
    assert health.not_ready() == []
    assert health.statuses() == [
        SourceStatus("a", True, 0.0, ()),
        SourceStatus("b", True, 3.5, ("pods: also",)),
    ]
    health.tell("b", Changes())
    assert health.statuses()[1].stale_seconds == 3.5, "what is known again of one kind says nothing of the others"
    health.tell("b", Condition(left_out=("nodes: 403",)))
    assert health.statuses()[1] == SourceStatus("b", True, 0.0, ("nodes: 403",))
