"""Findings for programs."""

from __future__ import annotations

import json
from typing import Any

from xds_server.catalogue import CATALOGUE
from xds_server.cli.reports.summary import Summary
from xds_server.diagnostics import format_path
from xds_server.findings import Finding


def report(findings: list[Finding], summary: Summary) -> str:
    value = {
        "findings": [as_json(finding) for finding in findings],
        "summary": {"files": summary.files, "objects": summary.objects, "seconds": round(summary.seconds, 3)},
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def as_json(finding: Finding) -> dict[str, Any]:
    """One finding with every key always present; what is not known is null."""
    found, position = finding.diagnostic, finding.position
    return {
        "code": found.code,
        "level": found.level.value,
        "message": found.message,
        "object": str(found.ref) if found.ref else None,
        "field": format_path(found.path) or None,
        "file": position.file if position else None,
        "line": position.line if position else None,
        "column": position.column if position else None,
        "effect": found.effect or None,
        "suggestion": found.suggestion or None,
        "twins": list(CATALOGUE[found.code].twins),
    }
