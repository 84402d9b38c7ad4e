"""Findings as SARIF 2.1.0, which code-scanning tools read."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from xds_server.catalogue import CATALOGUE
from xds_server.cli.reports.summary import Summary
from xds_server.diagnostics import Level
from xds_server.findings import Finding
from xds_server.version import __version__

LEVELS = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "note"}


def report(findings: list[Finding], _: Summary) -> str:
    codes = sorted({finding.diagnostic.code for finding in findings})
    value = {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": "xds-server", "version": __version__, "rules": [_rule(code) for code in codes]}
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding) for finding in findings],
            }
        ],
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _rule(code: str) -> dict[str, Any]:
    entry = CATALOGUE[code]
    rule = {"id": code, "defaultConfiguration": {"level": LEVELS[entry.level]}}
    return rule | ({"fullDescription": {"text": f"Effect: {entry.effect}."}} if entry.effect else {})


def _result(finding: Finding) -> dict[str, Any]:
    found, position = finding.diagnostic, finding.position
    subject = f"{found.ref}: " if found.ref else ""
    details = "".join(f" ({text})" for text in (found.effect, found.suggestion) if text)
    result: dict[str, Any] = {
        "ruleId": found.code,
        "level": LEVELS[found.level],
        "message": {"text": f"{subject}{found.message}{details}"},
    }
    if position:
        place = {
            "artifactLocation": {"uri": quote(PurePath(position.file).as_posix())},
            "region": {"startLine": position.line, "startColumn": position.column},
        }
        result["locations"] = [{"physicalLocation": place}]
    return result
