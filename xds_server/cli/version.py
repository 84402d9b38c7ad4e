"""`xds-server version`."""

from __future__ import annotations

import platform

import click

from xds_server.cli.options import Command
from xds_server.version import __version__


@click.command("version", cls=Command)
def command() -> None:
    """Print the version of xds-server and of Python."""
    click.echo(f"xds-server {__version__} (Python {platform.python_version()})")
