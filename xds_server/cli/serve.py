"""`xds-server serve`."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import click

from xds_server import process
from xds_server.cli.exits import CLEAN, CannotRun
from xds_server.cli.inputs import check_sources, with_directory
from xds_server.cli.options import Command
from xds_server.cli.settings_options import given, settings_options
from xds_server.settings import Settings, SettingsError, load
from xds_server.state_file import any_in


@click.command("serve", cls=Command, params=settings_options())
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--config", type=click.Path(path_type=Path), help="A YAML file of settings, such as xds-port: 15010.")
def command(directory: str | None, config: Path | None, **flags: Any) -> int:
    """Serve the YAML in DIR (a directory or a file), a cluster (--source kubernetes), or several of these to Envoy and
    gRPC clients, and follow every change.

    A flag wins over the environment (XDS_SERVER_XDS_PORT=...), that over the config file. SIGTERM and SIGINT end
    the server once its streams have ended.
    """
    try:
        settings = load(with_directory(directory, given(flags)), os.environ, config)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    # With something to serve until the sources are there, they are waited for; without, it is a slip of the pen.
    check_sources(settings, may_be_missing=bool(settings.state_dir) and any_in(settings.state_dir))
    return _run(settings)


def _run(settings: Settings) -> int:
    from xds_server.app import serve  # brings gRPC, which `--help` can do without
    from xds_server.cli.logs import configure
    from xds_server.sources.kubernetes_api import NoAccess
    from xds_server.state_file import StateError
    from xds_server.xds.credentials import CredentialsError

    configure(settings)
    process.prepare()
    try:
        asyncio.run(_until_signal(serve, settings))
    except (CredentialsError, StateError) as error:
        raise CannotRun(str(error)) from None
    except ExceptionGroup as errors:
        if (refused := errors.subgroup(NoAccess)) is None:
            raise
        raise CannotRun(str(refused.exceptions[0])) from None
    except OSError as error:
        if error.filename:
            raise CannotRun(f"{error.filename}: {error.strerror}") from None
        raise CannotRun(f"{error}; another server may be running, see --xds-port and --admin-port") from None
    return CLEAN


async def _until_signal(serve: Any, settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if not settings.profile:
        await serve(settings, stop)
        return
    from xds_server.profiler import profiled

    with profiled(Path(settings.profile)) as write:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, write)
        await serve(settings, stop)
