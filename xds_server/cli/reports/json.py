"""Findings for programs."""

from __future__ import annotations

import json

from xds_server.cli.reports.summary import Summary
from xds_server.findings import Finding, as_json


def report(findings: list[Finding], summary: Summary) -> str:
    value = {
        "findings": [as_json(finding) for finding in findings],
        "summary": {"files": summary.files, "objects": summary.objects, "seconds": round(summary.seconds, 3)},
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
