"""What a process has used, from /proc."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path


def cpu(pid: int) -> float:
    """Seconds that a process has computed, all threads together, in nanoseconds' precision."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory(pid: int, field: str = "VmHWM") -> float:
    """In MB: the greatest resident size so far, or with VmRSS that of now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


async def settled(pid: int, seconds: float = 1.0, idle: float = 0.03) -> None:
    """Returns once the process computes next to nothing, `idle` of a core, for so long."""
    while True:
        before = cpu(pid)
        await asyncio.sleep(seconds)
        if cpu(pid) - before < idle * seconds:
            return


class Samples:
    """What a process used in each second: cores, and MB."""

    def __init__(self) -> None:
        self.cores: list[float] = []
        self.memory: list[float] = []


@contextlib.asynccontextmanager
async def sampled(pid: int, seconds: float = 1.0) -> AsyncIterator[Samples]:
    """Samples while the block runs."""
    samples = Samples()
    clock = asyncio.get_running_loop().time

    async def sample() -> None:
        at, used = clock(), cpu(pid)
        while True:
            await asyncio.sleep(seconds)
            now, total = clock(), cpu(pid)
            samples.cores.append((total - used) / (now - at))
            samples.memory.append(memory(pid, "VmRSS"))
            at, used = now, total

    task = asyncio.create_task(sample())
    try:
        yield samples
    finally:
        task.cancel()
