"""`xds-server lint`: what is wrong with a directory, and where."""

from __future__ import annotations

import time
from itertools import chain
from typing import Any

import click

from xds_server.cli.inputs import exit_code, files_in, inputs_of, load, objects_in, sources_in
from xds_server.cli.options import Command
from xds_server.cli.proxies import implied_proxies
from xds_server.cli.reports import REPORTS
from xds_server.cli.reports.summary import Summary
from xds_server.cli.settings_options import with_settings
from xds_server.diagnostics import Diagnostic, Level
from xds_server.findings import findings
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Generations
from xds_server.settings import Inputs
from xds_server.translate import translate


@click.command("lint", cls=Command)
@click.argument("directory", metavar="[DIR]", required=False)
@with_settings(Inputs)
@click.option("--output", "-o", type=click.Choice(list(REPORTS)), default="text", show_default=True)
@click.option(
    "--fail-on",
    type=click.Choice([level.value for level in Level]),
    default=Level.ERROR.value,
    show_default=True,
    help="The least level that makes the exit code 1.",
)
def command(directory: str | None, output: str, fail_on: str, **flags: Any) -> int:
    """Check the YAML in DIR (a directory, a file, or - for stdin), a cluster (--source kubernetes), or several.

    Exits 0 when nothing was found, 1 when something was, 3 when nothing could be read.
    """
    started = time.monotonic()
    snapshot = load(inputs_of(directory, flags))
    found = findings(check(snapshot), snapshot.sources)
    summary = Summary(files_in(snapshot), objects_in(snapshot), time.monotonic() - started, sources_in(snapshot))
    click.echo(REPORTS[output](found, summary), nl=False)
    return exit_code(snapshot, found, Level(fail_on))


ABOUT_PORTS = frozenset({"XDS3005", "XDS3009", "XDS4012"})
"""Codes about the ports of a sidecar that binds them itself. Whether there is one cannot be seen in the objects, and
what is no mistake for any other sidecar is none for lint."""


def check(snapshot: Snapshot) -> set[Diagnostic]:
    """All that is wrong for any of the proxies that the objects speak of."""
    memo = Generations()
    found = chain.from_iterable(translate(snapshot, proxy, memo).found for proxy in implied_proxies(snapshot))
    return {finding for some in found for finding in some if finding.code not in ABOUT_PORTS}
