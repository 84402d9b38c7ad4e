"""Findings for people: the place, the lines around it with a caret, the effect, and what to write instead."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import click

from xds_server.catalogue import CATALOGUE
from xds_server.cli.reports.summary import Summary, summary_line
from xds_server.diagnostics import Level
from xds_server.findings import Finding

COLORS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.INFO: "cyan"}
CONTEXT = 2
"""Lines shown before the one in question."""

WIDTH = 120

_SECRET = re.compile(r"""kind["']?\s*:\s*["']?Secret\b|-----BEGIN""")


def report(findings: list[Finding], summary: Summary) -> str:
    return "".join(f"{block(finding)}\n" for finding in findings) + summary_line(findings, summary) + "\n"


def block(finding: Finding) -> str:
    """One finding, of several lines, without a line end."""
    return "\n".join([_headline(finding), *_excerpt(finding), *_notes(finding)])


def _headline(finding: Finding) -> str:
    level = finding.diagnostic.level
    return str(finding).replace(f"{level} ", click.style(level, fg=COLORS[level], bold=True) + " ", 1)


def _excerpt(finding: Finding) -> list[str]:
    position = finding.position
    if position is None:
        return []
    first, lines = _lines(finding)
    if _may_hold_secrets(finding, lines):
        return []
    index = position.line - first
    if not 0 <= index < len(lines):
        return []
    shown = list(enumerate(lines))[max(0, index - CONTEXT) : index + 1]
    width = max(4, len(str(position.line)))
    excerpt = [f" {first + number:>{width}} | {line}" for number, line in shown]
    start = position.column - 1
    mark = "^" * max(1, len(_token(lines[index][start:])))
    return [*excerpt, f" {'':>{width}} | {' ' * start}{click.style(mark, fg=COLORS[finding.diagnostic.level])}"]


def _lines(finding: Finding) -> tuple[int, list[str]]:
    """The number of the first line that is known, and the lines."""
    source, position = finding.source, finding.position
    if source and position and source.file == position.file and source.text:
        return source.line, source.text.splitlines()
    try:
        return 1, Path(position.file).read_text(encoding="utf-8").splitlines() if position else []
    except (OSError, ValueError):
        return 1, []


def _may_hold_secrets(finding: Finding, lines: list[str]) -> bool:
    """A Secret's values are not shown, nor is any text in which there is a Secret, readable or not."""
    ref = finding.diagnostic.ref
    return (ref is not None and ref.kind == "Secret") or any(_SECRET.search(line) for line in lines)


def _token(text: str) -> str:
    """The scalar that a text starts with: quoted, or up to the next blank or punctuation of YAML."""
    if text[:1] in ("'", '"'):
        return text[: text.find(text[0], 1) + 1] or text
    return "".join(takewhile(lambda character: character not in " ,]}", text)).removesuffix(":")


def _notes(finding: Finding) -> list[str]:
    found = finding.diagnostic
    twins = ", ".join(CATALOGUE[found.code].twins)
    notes = [f"effect: {found.effect}" if found.effect else "", found.suggestion, f"also {twins}" if twins else ""]
    marked = [f"= {note}" for note in notes if note]
    line = "   " + "        ".join(marked)
    return [line] if marked and len(line) <= WIDTH else [f"   {note}" for note in marked]
