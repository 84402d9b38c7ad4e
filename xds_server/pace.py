"""When a change is taken up: at once after quiet, in batches during a storm, endpoints always at once."""

from __future__ import annotations

import msgspec

from xds_server.incremental import changed
from xds_server.kube.meta import Object
from xds_server.kube.snapshot import Snapshot

QUIET = 0.1  # seconds without a change that end a batch, and after which the next change goes at once
LONGEST = 0.5  # seconds that a change waits at most

ENDPOINT_KINDS = frozenset({"EndpointSlice", "Endpoints", "Pod", "WorkloadEntry"})


class Pace:
    """Decides which snapshot is translated when. All times are seconds of one steady clock; it reads none itself."""

    def __init__(self) -> None:
        self._newest: Snapshot | None = None  # arrived and not yet taken as a whole
        self._taken: Snapshot | None = None
        self._first = self._last = self._done = float("-inf")
        self._endpoints_due = False

    def arrive(self, snapshot: Snapshot, now: float) -> None:
        """A newer snapshot. Number 0 stands for none."""
        if snapshot.number == 0:
            return
        if self._newest is None:
            self._first = now
        self._newest = snapshot
        self._last = now
        self._endpoints_due = self._taken is not None and with_endpoints(self._taken, snapshot) is not self._taken

    def remaining(self, now: float) -> float | None:
        """Seconds until `take` has something; None if there is nothing to wait for."""
        if self._newest is None:
            return None
        return 0.0 if self._endpoints_due else max(0.0, self._due() - now)

    def take(self, now: float) -> Snapshot | None:
        """The snapshot to translate now, if any."""
        if self._newest is None:
            return None
        if self._taken is None or self._due() <= now:
            self._taken, self._newest = self._newest, None
            self._done = now
        elif self._endpoints_due:
            self._taken = with_endpoints(self._taken, self._newest)
            if only_endpoints_differ(self._taken, self._newest):
                self._taken, self._newest = self._newest, None
        else:
            return None
        self._endpoints_due = False
        return self._taken

    def _due(self) -> float:
        if self._first - self._done >= QUIET:
            return self._first
        return min(self._last + QUIET, self._first + LONGEST)


def with_endpoints(old: Snapshot, new: Snapshot) -> Snapshot:
    """`old` with the endpoints of `new`; `old` itself if they are the same."""
    kinds = [kind for kind in {**old.by_type, **new.by_type} if kind.KIND in ENDPOINT_KINDS]
    changed = [kind for kind in kinds if not _same(old, new, kind)]
    if not changed:
        return old
    return msgspec.structs.replace(
        old, number=new.number, by_type={**old.by_type, **{kind: new.of(kind) for kind in changed}}
    )


def only_endpoints_differ(old: Snapshot, new: Snapshot) -> bool:
    kinds = {**old.by_type, **new.by_type}
    return all(_same(old, new, kind) for kind in kinds if kind.KIND not in ENDPOINT_KINDS)


def _same(old: Snapshot, new: Snapshot, kind: type[Object]) -> bool:
    return not changed(old.of(kind), new.of(kind))
