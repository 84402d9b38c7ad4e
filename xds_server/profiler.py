"""Where the CPU time of a running process goes, found by looking from time to time. Needs Linux.

Own code, because what there is sees one thread (cProfile, pyinstrument), or slows down what it measures several times
(yappi). Here a thread looks fifty times a second at what every other is doing, and books on it the CPU time that
the other used since: 1 to 2 % of a core, for all threads. What Python cannot see is a line of its own.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

import structlog

NATIVE = "threads of libraries"  # gRPC's own, and those that ended between two looks
_INTERVAL = 0.02  # seconds
_TOP = 8

_Stack = tuple[CodeType, ...]

log = structlog.get_logger()


class Profiler:
    """Books CPU time on stacks from `start` on."""

    def __init__(self) -> None:
        self._seconds: defaultdict[tuple[str, _Stack], float] = defaultdict(float)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="profiler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def folded(self) -> str:
        """A line for each stack: `thread;outermost;...;innermost MICROSECONDS`, as speedscope and flamegraph.pl read
        it."""
        booked = sorted((f"{';'.join((thread, *map(_name, stack)))}", s) for (thread, stack), s in self._items())
        return "".join(f"{names} {round(seconds * 1e6)}\n" for names, seconds in booked)

    def top(self) -> dict[str, str]:
        """The functions that took most, without what they called: name -> share of all CPU time."""
        own: defaultdict[str, float] = defaultdict(float)
        for (thread, stack), seconds in self._items():
            own[_name(stack[-1]) if stack else thread] += seconds
        total = sum(own.values()) or 1.0
        most = sorted(own.items(), key=lambda item: -item[1])[:_TOP]
        return {name: f"{seconds / total:.1%}" for name, seconds in most}

    def cpu_seconds(self) -> float:
        return sum(seconds for _, seconds in self._items())

    def _items(self) -> list[tuple[tuple[str, _Stack], float]]:
        return list(self._seconds.copy().items())

    def _run(self) -> None:
        clocks: dict[threading.Thread, _Clock] = {}
        process = time.process_time()
        while not self._stopped.wait(_INTERVAL):
            process, elsewhere = time.process_time(), time.process_time() - process
            busy: list[tuple[threading.Thread, float]] = []
            for thread in threading.enumerate():
                clock = clocks.get(thread) or clocks.setdefault(thread, _Clock(thread.native_id))
                if (seconds := clock.since_last_time()) > 0:
                    busy.append((thread, seconds))
                    elsewhere -= seconds
            frames = sys._current_frames() if busy else {}
            for thread, seconds in busy:
                if thread is not self._thread:
                    self._seconds[thread.name, _stack(frames.get(thread.ident or 0))] += seconds
            if elsewhere > 0:
                self._seconds[NATIVE, ()] += elsewhere
            frames.clear()  # or what they hold would live until the next look
            for ended in [thread for thread, clock in clocks.items() if clock.has_stopped]:
                del clocks[ended]
        for clock in clocks.values():
            clock.close()


class _Clock:
    """The CPU time of a thread. Not by `time.pthread_getcpuclockid`, which may crash once the thread has ended."""

    def __init__(self, native_id: int | None) -> None:
        self.has_stopped = False
        self._nanoseconds = 0
        try:
            self._file = os.open(f"/proc/self/task/{native_id}/schedstat", os.O_RDONLY)
        except FileNotFoundError:
            self.has_stopped = True
        else:
            self.since_last_time()

    def since_last_time(self) -> float:
        """Seconds; 0 once the thread has ended."""
        if self.has_stopped:
            return 0.0
        try:
            now = int(os.pread(self._file, 100, 0).split()[0])
        except (OSError, IndexError):  # ESRCH, or nothing to read
            self.close()
            return 0.0
        used, self._nanoseconds = now - self._nanoseconds, now
        return used / 1e9

    def close(self) -> None:
        if not self.has_stopped:
            os.close(self._file)
            self.has_stopped = True


@contextmanager
def profiled(file: Path) -> Iterator[Callable[[], None]]:
    """Profiles the block; what it gives writes the file at once, and the end of the block does. Raises OSError when the
    file cannot be written at the start, or the system does not tell; later that is logged."""
    file.write_text("")
    Path("/proc/self/schedstat").read_bytes()
    profiler = Profiler()

    def write() -> None:
        try:
            file.write_text(profiler.folded())
        except OSError as error:
            log.warning("the profile cannot be written", file=str(file), reason=error.strerror)
        else:
            log.info("profile", file=str(file), cpu_seconds=round(profiler.cpu_seconds(), 1), top=profiler.top())

    profiler.start()
    try:
        yield write
    finally:
        profiler.stop()
        write()


def _stack(frame: FrameType | None) -> _Stack:
    codes: list[CodeType] = []
    while frame:
        codes.append(frame.f_code)
        frame = frame.f_back
    return tuple(reversed(codes))


def _name(code: CodeType) -> str:
    """`function (package/module.py:line)`, without the characters that separate."""
    return f"{code.co_qualname} ({'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_firstlineno})".replace(";", ",")
