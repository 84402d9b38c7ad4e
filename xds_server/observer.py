"""Watches what is wrong, and says so once when it appears and once when it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from xds_server.catalogue import Level
from xds_server.diagnostics import Diagnostic, ObjectRef
from xds_server.findings import Finding, findings
from xds_server.fleet import Fleet, ProxyStatus
from xds_server.kube.meta import Source
from xds_server.kube.snapshot import Snapshot
from xds_server.latest import Latest
from xds_server.mesh.proxy import EVERY_GATEWAY

log = structlog.get_logger()
LOOK_SECONDS = 0.2
"""How often to look for something new; a look costs a few comparisons of identity."""


class Observer:
    """A member of the fleet that no proxy stands for: a gateway that every Gateway selects. So mistakes are found
    before the first proxy connects, and the work is shared with the gateways that do."""

    node = ""
    loses_what_is_left_out = False

    def __init__(self, fleet: Fleet, snapshots: Latest[Snapshot]) -> None:
        self._fleet, self._snapshots = fleet, snapshots
        self._known: dict[Diagnostic, str] = {}

    def wake(self) -> None:
        """Nothing is sent to it."""

    def status(self) -> ProxyStatus:
        return ProxyStatus(node="", proxy=EVERY_GATEWAY, user_agent="", variant="", peer="", connected=0.0, types=())

    async def findings(self) -> list[Finding]:
        """What is wrong now, with places."""
        found, sources = self._fleet.diagnostics(), self._snapshots.value.sources
        return await asyncio.to_thread(lambda: findings(set(found), sources))

    def count(self, level: Level) -> int:
        """Of what was said to be wrong."""
        return sum(found.level is level for found in self._known)

    def proxies(self) -> list[ProxyStatus]:
        """The streams of real proxies."""
        return [row for row in self._fleet.proxies() if row.peer]

    async def run(self) -> None:
        """Logs until it is cancelled."""
        await self._fleet.join(EVERY_GATEWAY, self)
        seen: list[object] = []
        while True:
            state: list[object] = []
            for group in self._fleet.groups():
                state += [*group.found, group.state.refusals]
            if state != seen:  # what there may be thousands of is compared by identity
                seen = state
                found, sources = self._fleet.diagnostics(), self._snapshots.value.sources
                # Thousands of findings take seconds: each is looked up in its file.
                self._known = await asyncio.to_thread(self._said, found, sources)
            await asyncio.sleep(LOOK_SECONDS)

    def _said(self, diagnostics: Iterable[Diagnostic], sources: Mapping[ObjectRef, Source]) -> dict[Diagnostic, str]:
        """What is known once this is said."""
        found, known = set(diagnostics), dict(self._known)
        for finding in findings(found - known.keys(), sources):
            text = known[finding.diagnostic] = str(finding)
            getattr(log, finding.diagnostic.level)(text, code=finding.diagnostic.code, state="found")
        for diagnostic in sorted(known.keys() - found, key=Diagnostic.sort_key):
            log.info(known.pop(diagnostic), code=diagnostic.code, state="gone")
        return known
