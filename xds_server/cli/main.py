"""`xds-server`: the group of commands. Each is in a file of its own, imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from xds_server.cli import exits
from xds_server.cli.options import COMMON, color_from

COMMANDS: dict[str, str] = {
    "serve": "Serve a directory of YAML to Envoy over xDS.",
    "translate": "Print the xDS resources that a directory of YAML gives.",
    "lint": "Say what is wrong with a directory of YAML.",
    "bootstrap": "Print an Envoy bootstrap for this server.",
    "certs": "Make certificates for TLS on the xDS channel.",
    "check": "Ask a running server whether it is ready.",
    "demo": "Watch requests go through a real Envoy.",
    "ps": "Show the proxies that are connected to a server.",
    "loadtest": "Load a control plane with synthetic Envoys, and measure it.",
    "why": "Say which lines made what a proxy has.",
    "version": "Print the version.",
}
"""Name -> short help, which `--help` prints without importing the command."""


class Commands(click.Group):
    """Finds the command `name` as `xds_server.cli.<name>.command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"xds_server.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> None:
        """Runs the command; what it returns is the exit code."""
        try:
            code = super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as bug:
            _report(bug, verbose=ctx.meta.get("verbose", False))
            code = exits.BUG
        ctx.exit(code or exits.CLEAN)


@click.group(cls=Commands, params=list(COMMON), context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(context: click.Context) -> None:
    """Kubernetes and Istio resources in, Envoy configuration out."""
    if context.color is None:
        context.color = color_from(os.environ)


def _report(bug: Exception, verbose: bool) -> None:
    if verbose:
        click.echo("".join(traceback.format_exception(bug)), err=True, nl=False)
    frame = traceback.extract_tb(bug.__traceback__)[-1]
    click.echo(
        f"This is a bug in xds-server, not in your input: {type(bug).__name__}: {bug} "
        f"({os.path.basename(frame.filename)}:{frame.lineno})\n"
        "Please report it with the command, its input, and the output of the same command with -v.",
        err=True,
    )


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code (see `exits`)."""
    try:
        return cli.main(args=arguments, prog_name="xds-server", standalone_mode=False) or exits.CLEAN
    except click.Abort:
        return exits.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # The reader of stdout went away (`| head`): nothing is left to say, also not when the interpreter flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.CLEAN


def main() -> None:
    sys.exit(run())
