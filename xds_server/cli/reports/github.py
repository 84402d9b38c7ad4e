"""Findings as annotations of a GitHub workflow.

Syntax: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from xds_server.cli.reports.summary import Summary, summary_line
from xds_server.diagnostics import Level
from xds_server.findings import Finding

COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "notice"}


def report(findings: list[Finding], summary: Summary) -> str:
    return "".join(f"{_annotation(finding)}\n" for finding in findings) + summary_line(findings, summary) + "\n"


def _annotation(finding: Finding) -> str:
    found, position = finding.diagnostic, finding.position
    properties = {"file": position.file, "line": position.line, "col": position.column} if position else {}
    properties["title"] = f"{found.code} {found.ref or ''}".strip()
    listed = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    details = "".join(f" ({text})" for text in (found.effect, found.suggestion) if text)
    return f"::{COMMANDS[found.level]} {listed}::{_data(found.message + details)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
