"""Findings in the form that a person or a tool wants to read."""

from __future__ import annotations

from collections.abc import Callable

from xds_server.cli.reports import github, json, sarif, text
from xds_server.cli.reports.summary import Summary
from xds_server.findings import Finding

Report = Callable[[list[Finding], Summary], str]

REPORTS: dict[str, Report] = {
    "text": text.report,
    "json": json.report,
    "github": github.report,
    "sarif": sarif.report,
}
