"""Breaks the delivery in one way after the other (mutations.txt), and asks whether a test of this folder notices.

Usage: make mutations, or python -m tests.protocol.mutations [WORD...] for those whose description contains a word
Exits with 1 when a mutation survives. That each still fits the code is a test of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Mutation(NamedTuple):
    """In the module `name` of xds_server/xds, `old` occurs once and becomes `new`."""

    name: str
    what: str
    old: str
    new: str


UNBROKEN = Mutation("session", "nothing is broken", "class Session:", "class Session:")


def mutations() -> list[Mutation]:
    """Those of mutations.txt."""
    _, *blocks = (ROOT / "tests/protocol/mutations.txt").read_text().strip().split("\n\n")
    return [mutation(block) for block in blocks]


def mutation(block: str) -> Mutation:
    head, *lines = block.splitlines()
    name, _, what = head.partition(": ")
    old, new = ("\n".join(line[1:] for line in lines if line[0] == sign) for sign in "-+")
    return Mutation(name, what, old, new)


def place(broken: Mutation) -> str:
    return f"xds_server/xds/{broken.name}.py"


def survives(broken: Mutation, folder: Path) -> bool:
    """Whether all tests pass although the copy of the project in `folder` is broken."""
    file = folder / place(broken)
    text = file.read_text()
    file.write_text(text.replace(broken.old, broken.new))
    command = [sys.executable, "-m", "pytest", "tests/protocol", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(folder), "HYPOTHESIS_PROFILE": "found"}
    try:
        done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, timeout=300)
    except subprocess.TimeoutExpired:
        return False
    finally:
        file.write_text(text)
    return done.returncode == 0


def main(words: list[str]) -> int:
    chosen = [m for m in mutations() if not words or any(word in m.what for word in words)]
    survivors = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("xds_server", "tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        if not survives(UNBROKEN, folder):
            raise SystemExit("a test fails although nothing is broken")
        for broken in chosen:
            survived = survives(broken, folder)
            survivors += survived
            print(f"{'SURVIVES' if survived else 'found   '} {broken.name}: {broken.what}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutations were found")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
