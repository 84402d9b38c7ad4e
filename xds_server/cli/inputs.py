"""What the offline commands read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from xds_server.cli.exits import CANNOT_RUN, CLEAN, FINDINGS, CannotRun
from xds_server.cli.settings_options import given
from xds_server.diagnostics import Level
from xds_server.findings import Finding
from xds_server.kube.snapshot import Snapshot
from xds_server.settings import KUBERNETES, Inputs
from xds_server.sources.follow import read, scope_of
from xds_server.sources.kubernetes import Incomplete
from xds_server.sources.kubernetes_api import NoAccess
from xds_server.store import snapshot_of

SEVERITY = {Level.ERROR: 3, Level.WARNING: 2, Level.INFO: 1}


def with_directory(directory: str | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags, with a directory that was given without `--source` as the first source."""
    return {**flags, "source": (directory, *flags.get("source", ()))} if directory else dict(flags)


def inputs_of(directory: str | None, flags: Mapping[str, Any]) -> Inputs:
    """What an offline command is to read. Raises UsageError when that is nothing, CannotRun when it is not there."""
    try:
        inputs = Inputs(**with_directory(directory, given(flags)))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    check_sources(inputs)
    return inputs


def check_sources(inputs: Inputs, may_be_missing: bool = False) -> None:
    """Raises UsageError or CannotRun for what can be known before anything is read. may_be_missing: a directory or file
    that is not there is waited for."""
    if not inputs.source:
        raise click.UsageError("nothing to read is given: name a DIR, or use --source kubernetes")
    for source in inputs.sources:
        if source not in (KUBERNETES, "-") and not (may_be_missing or Path(source).exists()):
            raise CannotRun(f"there is no directory or file {source}")
    try:
        scope_of(inputs)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def load(inputs: Inputs) -> Snapshot:
    """The objects of directories, files, stdin (`-`) or a cluster. Raises CannotRun when they cannot be read."""
    try:
        return snapshot_of(*(read(source, inputs) for source in inputs.sources))
    except (NoAccess, Incomplete) as error:
        raise CannotRun(str(error)) from None


def sources_in(snapshot: Snapshot) -> str:
    """`files`, `cluster NAME`, or both: what the objects were read from."""
    clusters = sorted({source.cluster for source in snapshot.sources.values() if source.cluster})
    files = ["files"] if files_in(snapshot) or not clusters else []
    return ", ".join([*files, *(f"cluster {name}" for name in clusters)])


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
