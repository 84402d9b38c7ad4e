"""Ports that nobody else uses."""

from __future__ import annotations

import os
import random
import socket
from collections import deque
from collections.abc import Container

LOWEST, HIGHEST = 10_000, 32_000
"""Below the ports that the system gives to outgoing connections, so that none of those can be in the way."""
SHARES = 11
_GIVEN: deque[int] = deque(maxlen=500)
"""By this process lately: perhaps nobody listens there yet."""


def is_free(port: int, host: str = "0.0.0.0") -> bool:
    """Whether a listener can be bound to the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(taken: Container[int] = ()) -> int:
    """A free port that is not in `taken`, another each time. Processes look in places of their own, so that two that
    start things at the same time seldom meet."""
    width = (HIGHEST - LOWEST) // SHARES
    lowest = LOWEST + os.getpid() % SHARES * width
    while True:
        port = random.randrange(lowest, lowest + width)
        if port not in _GIVEN and port not in taken and is_free(port):
            _GIVEN.append(port)
            return port
