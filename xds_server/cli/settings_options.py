"""Flags made from the settings, so that each is described in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
import msgspec

from xds_server.settings import Settings

_SHORT = {"namespace": "-n"}


def settings_options(of: type[msgspec.Struct] = Settings) -> list[click.Parameter]:
    """A flag for each setting. What is not given is left to the environment, the config file and the default."""
    structure: Any = msgspec.inspect.type_info(of)
    return [_option(field) for field in structure.fields]


def with_settings(of: type[msgspec.Struct]) -> Callable[[Any], Any]:
    """A decorator: the flags of the settings, before a command's own."""

    def decorate(command: Any) -> Any:
        command.__click_params__ = [*getattr(command, "__click_params__", []), *reversed(settings_options(of))]
        return command

    return decorate


def given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What was written on the command line."""
    return {name: value for name, value in flags.items() if value is not None and value != ()}


def _option(field: Any) -> click.Option:
    kind, description = field.type.type, field.type.extra_json_schema["description"]
    flag = isinstance(kind, msgspec.inspect.BoolType)
    many = isinstance(kind, msgspec.inspect.VarTupleType)
    choices = click.Choice(kind.values) if isinstance(kind, msgspec.inspect.LiteralType) else None
    shown = "" if flag or field.default in ("", ()) else f"  [default: {field.default}]"
    names = [f"--{field.encode_name}", field.name, *([_SHORT[field.name]] if field.name in _SHORT else [])]
    return click.Option(names, is_flag=flag, multiple=many, default=None, type=choices, help=description + shown)
