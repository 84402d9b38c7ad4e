"""Exit codes. They never depend on the output format."""

from __future__ import annotations

import click

CLEAN = 0
FINDINGS = 1
USAGE = 2
CANNOT_RUN = 3
BUG = 70
INTERRUPTED = 130


class CannotRun(click.ClickException):
    """What was asked for is impossible here; the message says why and what to do."""

    exit_code = CANNOT_RUN
