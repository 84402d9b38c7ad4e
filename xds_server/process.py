"""What the process asks of the system and of Python, once: for a server of thousands of proxies."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys

_YOUNG, _MIDDLE, _OLD = 5_000, 1, 8_000
_TURN = 0.001  # seconds that the thread which translates keeps the interpreter from the one that answers proxies


def prepare() -> None:
    """Before anything is served."""
    # Each proxy takes a file descriptor, and most systems allow 1,024 unless asked for more.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):  # macOS says that there is no limit, and takes none
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Hardly anything here is garbage in a cycle, and to look for it among what thousands of streams hold costs a tenth
    # of the CPU of a push. Nobody runs meanwhile: what is young, and a little older, is so little that it takes a few
    # milliseconds, also while thousands of objects are read.
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    sys.setswitchinterval(_TURN)


def settle() -> None:
    """Once the configuration is there: most of it stays for good, so the search for garbage need not look at it."""
    gc.freeze()  # without a search, which would hold everything up for a tenth of a second
