"""What makes the control plane send something new."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Protocol


class TriggerFailed(Exception):
    """The text says why."""


class Trigger(Protocol):
    async def pull(self, number: int) -> None:
        """Makes change number 1, 2, ... Raises TriggerFailed."""

    def restore(self) -> None:
        """Puts back what was there before the first change, where that is known."""


class Command:
    """A shell command; `ROUND` in its environment is the number of the change."""

    def __init__(self, command: str) -> None:
        self._command = command

    async def pull(self, number: int) -> None:
        process = await asyncio.create_subprocess_shell(
            self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"ROUND": str(number)},
        )
        _, said = await process.communicate()
        if process.returncode:
            words = said.decode(errors="replace").strip()
            raise TriggerFailed(f"the trigger ended with exit code {process.returncode}: {words}")

    def restore(self) -> None:
        pass


class Swap:
    """A file that gets the content of another and its own in turns, each time in one step."""

    def __init__(self, file: Path, other: Path) -> None:
        """Raises OSError."""
        self._file = file
        self._contents = file.read_bytes(), other.read_bytes()

    async def pull(self, number: int) -> None:
        self._write(self._contents[number % 2])

    def restore(self) -> None:
        self._write(self._contents[0])

    def _write(self, content: bytes) -> None:
        draft = self._file.with_name(f".{self._file.name}.loadtest")
        try:
            draft.write_bytes(content)
            draft.replace(self._file)
        except OSError as error:
            raise TriggerFailed(f"{self._file} cannot be replaced: {error.strerror}") from None
