"""The server in a process that also looks how late its event loop is: `python -m benchmarks.watched DIR XDS_PORT`.

At SIGUSR1 it writes a line of JSON, {"event": "lag", "max": ms, "late": ms}, about the time since the last: the
longest that the loop was late, and how long in all it was later than a few milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from xds_server import process
from xds_server.app import serve
from xds_server.settings import Settings

EVERY = 0.001
"""Seconds between two looks."""
FEW = 0.005


class Lag:
    """Seconds."""

    def __init__(self) -> None:
        self.longest = self.late = 0.0

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + EVERY
            await asyncio.sleep(EVERY)
            lag = clock() - due
            self.longest = max(self.longest, lag)
            self.late += lag if lag > FEW else 0.0

    def tell(self) -> None:
        print(json.dumps({"event": "lag", "max": 1000 * self.longest, "late": 1000 * self.late}), flush=True)
        self.longest = self.late = 0.0


async def main(directory: str, port: int) -> None:
    process.prepare()  # as `xds-server serve` does
    lag, stop = Lag(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lag.tell)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    watching = asyncio.create_task(lag.run())
    await serve(Settings(source=(directory,), xds_port=port, admin_port=0, drain_seconds=0), stop)
    watching.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
