"""Diagnostics with the place in the user's files that each is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from xds_server.catalogue import CATALOGUE
from xds_server.diagnostics import Diagnostic, ObjectRef, Position, format_path
from xds_server.kube.meta import Source
from xds_server.sources.yaml import locate

ABOUT_KEYS = frozenset({"XDS1003", "XDS1004", "XDS1007"})
"""Codes about a field's name rather than its value."""


class Finding(msgspec.Struct, frozen=True):
    """position: None when the object is in no file. source: what the object was read from, if it was."""

    diagnostic: Diagnostic
    position: Position | None
    source: Source | None

    def __str__(self) -> str:
        """One line: `file:line:column: error XDS2003 Kind/namespace/name: message`, or `cluster NAME: error ...`."""
        found = self.diagnostic
        place = f"{self.position or self.source}: " if self.position or self.source else ""
        subject = f" {found.ref}" if found.ref else ""
        return f"{place}{found.level} {found.code}{subject}: {found.message}"


def findings(diagnostics: Iterable[Diagnostic], sources: Mapping[ObjectRef, Source]) -> list[Finding]:
    """Sorted by file and line; what has no place comes last."""
    found = [_finding(diagnostic, sources) for diagnostic in diagnostics]
    nowhere = Position("\U0010ffff", 0, 0)
    return sorted(found, key=lambda finding: (finding.position or nowhere, finding.diagnostic.sort_key()))


def _finding(diagnostic: Diagnostic, sources: Mapping[ObjectRef, Source]) -> Finding:
    source = sources.get(diagnostic.ref) if diagnostic.ref else None
    if diagnostic.position or source is None or not source.file:
        return Finding(diagnostic, diagnostic.position, source)
    return Finding(diagnostic, locate(source, diagnostic.path, key=diagnostic.code in ABOUT_KEYS), source)


def as_json(finding: Finding) -> dict[str, Any]:
    """One finding with every key always present; what is not known is null."""
    found, position, source = finding.diagnostic, finding.position, finding.source
    return {
        "code": found.code,
        "level": found.level.value,
        "message": found.message,
        "object": str(found.ref) if found.ref else None,
        "field": format_path(found.path) or None,
        "file": position.file if position else None,
        "line": position.line if position else None,
        "column": position.column if position else None,
        "cluster": (source and source.cluster) or None,
        "resource_version": (source and source.resource_version) or None,
        "effect": found.effect or None,
        "suggestion": found.suggestion or None,
        "twins": list(CATALOGUE[found.code].twins),
    }
