"""`xds-server serve`."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import click
import msgspec

from xds_server.cli.exits import CLEAN, CannotRun
from xds_server.cli.options import Command
from xds_server.settings import Settings, SettingsError, load


def _options() -> list[click.Parameter]:
    """A flag for each setting. What is not given is left to the environment, the config file and the default."""
    structure: Any = msgspec.inspect.type_info(Settings)
    return [_option(field) for field in structure.fields if field.name != "directory"]


def _option(field: Any) -> click.Option:
    kind, description = field.type.type, field.type.extra_json_schema["description"]
    flag = isinstance(kind, msgspec.inspect.BoolType)
    choices = click.Choice(kind.values) if isinstance(kind, msgspec.inspect.LiteralType) else None
    shown = "" if flag or field.default == "" else f"  [default: {field.default}]"
    return click.Option(
        [f"--{field.encode_name}", field.name],
        is_flag=flag,
        default=None,
        type=choices,
        help=description + shown,
    )


@click.command("serve", cls=Command, params=_options())
@click.argument("directory", metavar="DIR")
@click.option("--config", type=click.Path(path_type=Path), help="A YAML file of settings, such as xds-port: 15010.")
def command(directory: str, config: Path | None, **flags: Any) -> int:
    """Serve the YAML in DIR (a directory or a file) to Envoy and gRPC clients, and follow every change of it.

    A flag wins over the environment (XDS_SERVER_XDS_PORT=...), that over the config file. SIGTERM and SIGINT end
    the server once its streams have ended.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = load({"directory": directory, **given}, os.environ, config)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if not Path(directory).exists():
        raise CannotRun(f"there is no directory or file {directory}")
    return _run(settings)


def _run(settings: Settings) -> int:
    from xds_server.app import serve  # brings gRPC, which `--help` can do without
    from xds_server.cli.logs import configure
    from xds_server.xds.credentials import CredentialsError

    configure(settings)
    try:
        asyncio.run(_until_signal(serve, settings))
    except CredentialsError as error:
        raise CannotRun(str(error)) from None
    except OSError as error:
        raise CannotRun(f"{error}; another server may be running, see --xds-port and --admin-port") from None
    return CLEAN


async def _until_signal(serve: Any, settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)
