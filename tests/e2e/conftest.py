"""The lab of each end-to-end test."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.harness import Lab


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    # Not tmp_path: the path of a unix socket has at most 108 bytes.
    with tempfile.TemporaryDirectory(prefix="xds-lab-") as directory:
        async with contextlib.AsyncExitStack() as stack:
            yield Lab(Path(directory), stack)
