"""What the offline commands read."""

from __future__ import annotations

from pathlib import Path

from xds_server.cli.exits import CANNOT_RUN, CLEAN, FINDINGS, CannotRun
from xds_server.diagnostics import Level
from xds_server.findings import Finding
from xds_server.kube.snapshot import Snapshot
from xds_server.sources.directory import read
from xds_server.store import snapshot_of

SEVERITY = {Level.ERROR: 3, Level.WARNING: 2, Level.INFO: 1}


def load(path: str) -> Snapshot:
    """The objects of a directory, a file, or stdin (`-`). Raises CannotRun when there is no such path."""
    if path != "-" and not Path(path).exists():
        raise CannotRun(f"there is no directory or file {path}")
    return snapshot_of(read(path))


def objects_in(snapshot: Snapshot) -> int:
    return sum(len(objects) for objects in snapshot.by_type.values())


def files_in(snapshot: Snapshot) -> int:
    """How many files objects were read from, or could not be."""
    broken = {found.position.file for found in snapshot.diagnostics if found.position}
    return len({source.file for source in snapshot.sources.values() if source.file} | broken)


def exit_code(snapshot: Snapshot, findings: list[Finding], fail_on: Level = Level.ERROR) -> int:
    """CANNOT_RUN when nothing at all could be read, which must never pass for a clean result."""
    if not objects_in(snapshot):
        return CANNOT_RUN
    worst = max((SEVERITY[finding.diagnostic.level] for finding in findings), default=0)
    return FINDINGS if worst >= SEVERITY[fail_on] else CLEAN
