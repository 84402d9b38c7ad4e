"""A load test: connects the synthetic Envoys, watches what they get, and says how it went."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from xds_server.loadtest import errors
from xds_server.loadtest.connection import clock
from xds_server.loadtest.fleet import Fleet, Target
from xds_server.loadtest.results import Measured, Results, Stalled, Usage
from xds_server.loadtest.triggers import Trigger, TriggerFailed
from xds_server.loadtest.variants import Variant

CATCH_UP, QUIET = 10.0, 1.0
"""Seconds that the stalled streams get in the end to read what waits for them; and without anything to be read."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Plan(msgspec.Struct, frozen=True):
    """What to do. first_requests: of each stream; they say who it is.

    rate: connections per second, 0 for all at once. duration: seconds to watch where there is no trigger.
    timeout: seconds that connecting may take, and each round. stalled: streams that stop reading once all are
    configured. rounds, every: how often the trigger is pulled, and seconds from one time to the next.
    server_pid: a process of this machine whose CPU time is measured too.
    """

    target: Target
    variant: Variant
    first_requests: tuple[bytes, ...]
    rate: float = 0.0
    duration: float = 10.0
    timeout: float = 30.0
    stalled: int = 0
    trigger: Trigger | None = None
    rounds: int = 10
    every: float = 1.0
    server_pid: int | None = None


class NobodyConnected(Exception):
    """No stream got an answer; the text says why, and what to do."""


class LoadTest:
    """One run of a plan. phase: what it is doing, for people. results: what was measured so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.phase = "connecting"
        self.results = Results(len(plan.first_requests), self._note)
        self.measured = Measured()
        self._changed = asyncio.Event()
        self._fleet = Fleet(plan.target, plan.variant, plan.first_requests, plan.rate, plan.stalled, self.results)
        self._first: Usage | None = None  # when the first response of a round came

    async def run(self, stop: asyncio.Event) -> None:
        """Returns when all is done, or `stop` is set. Raises NobodyConnected."""
        phases = asyncio.create_task(self._phases())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({phases, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self.measured.interrupted = not phases.done()
        finally:
            for task in (phases, stopping):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            self.measured.ended = self._usage()
            self.measured.missing = self._fleet.missing()
            await self._fleet.stop()

    async def _phases(self) -> None:
        plan, measured = self.plan, self.measured
        measured.began = self._usage()
        self._fleet.start()
        await self._until(lambda: len(self.results.configured) == self.results.streams)
        measured.configured = self._usage()
        self._fleet.stall()
        if plan.trigger:
            await self._pull(plan.trigger)
        else:
            self.phase = "watching"
            self.results.watch()
            await asyncio.sleep(plan.duration)
        measured.watched = self._usage()
        if self._fleet.stalled():
            self.phase = "letting the stalled streams read"
            await self._catch_up()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Until the condition holds, or time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.plan.timeout):
                while not condition():
                    if self.results.everyone_failed:
                        raise NobodyConnected(_advice(self.results))
                    self._changed.clear()
                    await self._changed.wait()

    async def _pull(self, trigger: Trigger) -> None:
        plan, measured = self.plan, self.measured
        try:
            for number in range(1, plan.rounds + 1):
                self.phase = f"round {number} of {plan.rounds}"
                self._first = None
                current = self.results.begin_round(clock(), self._fleet.reading())
                await trigger.pull(number)
                measured.pulling.append(clock() - current.began)
                await self._until(lambda: not current.waiting)  # noqa: B023  (awaited within the round)
                await asyncio.sleep(max(0.0, current.began + plan.every - clock()))
        except TriggerFailed as error:
            measured.trigger_error = str(error)
        finally:
            trigger.restore()

    async def _catch_up(self) -> None:
        """Lets the stalled streams read all that waits for them."""
        before = self._usage()
        self._fleet.resume()
        last, seen = before.at, before.responses
        while clock() - last < QUIET and clock() - before.at < CATCH_UP:
            await asyncio.sleep(QUIET / 10)
            if self.results.responses > seen:
                last, seen = clock(), self.results.responses
        after = self._usage()
        self.measured.stalled = Stalled(
            streams=self._fleet.stalled(),
            closed=self._fleet.closed,
            responses=after.responses - before.responses,
            bytes=after.size - before.size,
            seconds=last - before.at,
        )

    def _note(self) -> None:
        """What `Results` calls."""
        self._changed.set()
        if not self.results.rounds:
            return
        now, first = self._usage(), self._first
        if first is None:
            self._first = now
        elif not self.results.rounds[-1].waiting:
            self.measured.bursts.append((first, now))

    def _usage(self) -> Usage:
        results, pid = self.results, self.plan.server_pid
        server = _cpu_of(pid) if pid else None
        return Usage(clock(), time.process_time(), _waited(), server, results.responses, results.size)


def _waited() -> float:
    """Seconds that this process was ready to run and had no CPU; 0 where the kernel does not tell."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _cpu_of(pid: int) -> float | None:
    """Seconds of CPU that a process has used, in steps of 10 ms; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _advice(results: Results) -> str:
    error = max(results.errors, key=lambda text: results.errors[text].total())
    hint = errors.hint(error)
    return f"{error}; {hint}" if hint else error
