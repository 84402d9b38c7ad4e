"""The one place where an exception, which is a bug, is kept from hurting anything but its own object."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

from xds_server.diagnostics import Diagnostic, ObjectRef, diagnostic
from xds_server.memo import Memo

R = TypeVar("R")


def attempt(memo: Memo, ref: ObjectRef | None, function: Callable[..., R], /, *args: object) -> R | Diagnostic:
    """What `function` returns, or a diagnostic that names the exception and where it came from."""
    try:
        return memo(function, *args)
    except Exception as bug:
        frame = traceback.extract_tb(bug.__traceback__)[-1]
        where = f"{frame.filename.rpartition('xds_server/')[2]}:{frame.lineno}"
        return diagnostic("XDS1010", ref, detail=f"{type(bug).__name__}: {bug} ({where})")
