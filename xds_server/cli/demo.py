"""`xds-server demo`: a whole system on this machine, to look at and to play with."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path

import click

from xds_server.cli.exits import CLEAN, FINDINGS, INTERRUPTED, CannotRun
from xds_server.cli.options import Command
from xds_server.demo.live import show
from xds_server.demo.processes import ProcessEnded, find_envoy
from xds_server.demo.proof import prove
from xds_server.demo.stage import NotReady, Stage, stage


@click.command("demo", cls=Command)
@click.option(
    "--once/--live",
    default=None,
    help="Prove that everything works and exit; or show it until Ctrl-C.  [default: live on a terminal]",
)
def command(once: bool | None) -> int:
    """Start this server, two real Envoys and small upstreams, and watch a canary split.

    Everything is on loopback and in a temporary directory, and is gone at the end.
    """
    terminal = sys.stdout.isatty()
    proving = not terminal if once is None else once
    try:
        find_envoy()
        with tempfile.TemporaryDirectory(prefix="xds-demo-") as directory:
            return asyncio.run(_interruptible(_demo(Path(directory), proving, terminal)))
    except (FileNotFoundError, NotReady, ProcessEnded, OSError) as error:
        raise CannotRun(str(error)) from None


async def _interruptible(demo: Coroutine[None, None, int]) -> int:
    """Runs the demo; a signal ends it in order, with all its children. A second one does not disturb that."""
    task = asyncio.ensure_future(demo)

    def end() -> None:
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end)
    try:
        return await task
    except asyncio.CancelledError:
        return INTERRUPTED


async def _demo(directory: Path, proving: bool, terminal: bool) -> int:
    click.echo("Starting the server, two Envoys and eight upstreams ...", err=True)
    async with stage(directory) as running:
        if proving:
            return await _prove(running)
        with contextlib.suppress(asyncio.CancelledError):
            await show(running, terminal)
        click.echo("\nEnding everything ...", err=True)
    return CLEAN


async def _prove(running: Stage) -> int:
    failed = False
    async for check in prove(running):
        failed = failed or not check.ok
        mark = click.style("ok  ", fg="green") if check.ok else click.style("FAIL", fg="red")
        click.echo(f"{mark}  {check.name:<52} {check.detail}")
    return FINDINGS if failed else CLEAN
