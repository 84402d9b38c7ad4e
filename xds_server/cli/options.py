"""Options that every command has, before or after its name."""

from __future__ import annotations

from collections.abc import Mapping

import click


def color_from(environ: Mapping[str, str]) -> bool | None:
    """False: never, True: always, None: on a terminal. See https://no-color.org and https://bixense.com/clicolors."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    return True if environ.get("CLICOLOR_FORCE", "0") != "0" else None


def _verbose(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta["verbose"] = True


def _no_color(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.color = False


COMMON: tuple[click.Parameter, ...] = (
    click.Option(
        ["-v", "--verbose"], is_flag=True, expose_value=False, callback=_verbose, help="Show the traceback of a bug."
    ),
    click.Option(["--no-color"], is_flag=True, expose_value=False, callback=_no_color, help="Never use colour."),
)


class Command(click.Command):
    """A command with the common options."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *COMMON]
