from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from xds_server.profiler import Profiler, profiled


def burn(enough: Callable[[], bool]) -> None:
    """Uses CPU time until it is enough."""
    while not enough():
        hashlib.blake2b(bytes(10_000)).digest()


def parsed(folded: str) -> dict[str, int]:
    return {stack: int(count) for stack, _, count in (line.rpartition(" ") for line in folded.splitlines())}


def test_every_thread_is_seen_with_the_stack_that_used_the_time() -> None:
    profiler = Profiler()
    profiler.start()
    enough = threading.Event()
    idle = threading.Thread(target=enough.wait, name="idle")
    busy = threading.Thread(target=burn, args=(enough.is_set,), name="busy")
    idle.start()
    busy.start()
    burn(lambda: profiler.cpu_seconds() > 0.5)
    enough.set()
    busy.join()
    idle.join()
    profiler.stop()
    stacks = parsed(profiler.folded())
    for thread in ("busy", "MainThread"):
        here = sum(count for stack, count in stacks.items() if stack.startswith(thread) and "burn (unit/" in stack)
        assert here > 0.2 * sum(stacks.values()), thread
    assert sum(count for stack, count in stacks.items() if stack.startswith("idle")) < 0.1 * sum(stacks.values())
    assert "burn (unit/test_profiler.py:14)" in profiler.top()


def test_a_profile_is_written_when_it_is_asked_for_and_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "profile"
    with capture_logs() as logs:
        with profiled(file) as write:
            assert file.read_text() == ""
            deadline = iter(range(2_000))
            burn(lambda: next(deadline, None) is None)
            write()
            before = parsed(file.read_text())
            file.unlink()
        assert parsed(file.read_text()).keys() >= before.keys()
    assert [entry["event"] for entry in logs] == ["profile", "profile"]
    assert logs[-1]["cpu_seconds"] >= logs[0]["cpu_seconds"]


def test_a_file_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), profiled(tmp_path / "nowhere" / "profile"):
        pass
