"""Ports that nobody else uses."""

from __future__ import annotations

import random
import socket
from collections.abc import Container

LOWEST, HIGHEST = 10_000, 32_000
"""Below the ports that the system gives to outgoing connections, so that none of those can be in the way."""


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
    """A free port that is not in `taken`. Another process can still be faster."""
    while True:
        port = random.randint(LOWEST, HIGHEST)
        if port not in taken and is_free(port):
            return port
