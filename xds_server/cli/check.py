"""`xds-server check`."""

from __future__ import annotations

import http.client
import json

import click

from xds_server.cli.exits import CLEAN, FINDINGS, CannotRun
from xds_server.cli.options import Command

SECONDS = 5


@click.command("check", cls=Command)
@click.option(
    "--admin-port",
    type=click.IntRange(1, 65535),
    default=15014,
    show_default=True,
    envvar="XDS_SERVER_ADMIN_PORT",
    show_envvar=True,
    help="Port of the server's admin endpoints, on 127.0.0.1.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing while the server is ready.")
def command(admin_port: int, quiet: bool) -> int:
    """Ask the server on this machine whether it is ready: exit code 0 if it is, 1 if not yet, 3 if there is none.

    Made for the health check of a container.
    """
    status, answer = _ask(admin_port)
    reasons = answer.get("reasons") or ([] if status == 200 else [f"it answers with status {status}"])
    for reason in reasons:
        click.echo(f"not ready: {reason}")
    if not reasons and not quiet:
        click.echo("ready")
        for why in answer.get("stale", []):
            click.echo(f"stale: {why}")
    return FINDINGS if reasons else CLEAN


def _ask(port: int) -> tuple[int, dict[str, list[str]]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CannotRun(f"no server answers on 127.0.0.1:{port}: {error}; see --admin-port") from None
    finally:
        connection.close()
    return response.status, answer if isinstance(answer, dict) else {}
