"""Whether the server takes proxies, and whether what they get is out of date, in sentences for the operator."""

from __future__ import annotations

from collections.abc import Callable

from xds_server.fleet import Fleet
from xds_server.sources.health import Health


class Readiness:
    """clock: as that of the fleet. Set `draining` when the server begins to stop."""

    def __init__(self, fleet: Fleet, health: Health, clock: Callable[[], float]) -> None:
        self.draining = False
        self._fleet, self._health, self._clock = fleet, health, clock

    def not_ready(self) -> list[str]:
        """None once streams are answered, be it with what proxies got before."""
        if self.draining:
            return ["the server is going away"]
        if self._fleet.answering.is_set():
            return []
        return self._health.not_ready() or ["nothing was translated yet"]

    def stale(self) -> list[str]:
        """None while all that proxies get is made from what the sources have now."""
        if not self._fleet.answering.is_set():
            return []
        if self._fleet.stale_since is not None:
            reasons = self._health.not_ready() or ["the sources are being translated"]
            return [f"proxies get what they got before the server started: {reason}" for reason in reasons]
        return [f"what was read before is in use: {'; '.join(row.problems)}" for row in self._health.lost()]

    def last_good_seconds(self) -> float:
        """For how long proxies have been given what was kept from before the server started; 0 if they are not."""
        since = self._fleet.stale_since
        return 0.0 if since is None else self._clock() - since
