"""`xds-server ps`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from xds_server.cli import channel
from xds_server.cli.exits import CLEAN, FINDINGS
from xds_server.cli.options import Command
from xds_server.cli.output import formatted

TYPES = ("cds", "lds", "eds", "rds", "sds")
COLORS = {"SYNCED": "green", "STALE": "yellow", "ERROR": "red"}
COLUMNS = ("PROXY", "KIND", "NAMESPACE", "CLIENT", *(name.upper() for name in TYPES), "CONNECTED")


@click.command("ps", cls=Command)
@channel.options
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(output: str, **server: Any) -> int:
    """Show the proxies that are connected to a running server, and how far each is with each type of resource.

    SYNCED: the proxy has accepted all. STALE: something is under way. ERROR: it refused something. NOT SENT: it asked
    for nothing of the type. Exit code 1 if a proxy is in ERROR. A line below the table says if what the proxies get is
    out of date, because a source cannot be read.
    """
    from google.protobuf.json_format import MessageToDict

    from xds_server.admin import introspection_pb2 as api

    answer = channel.ask("ListProxies", api.ListProxiesRequest(), api.ListProxiesResponse, **server)
    if output == "json":
        click.echo(
            formatted(MessageToDict(answer, preserving_proto_field_name=True).get("proxies", []), "json"), nl=False
        )
    else:
        click.echo(table(answer.proxies), nl=False)
    for why in answer.stale:
        click.echo(click.style("! stale: ", fg="yellow") + why, err=output == "json")
    refusing = [proxy for proxy in answer.proxies if any(kind.state == "ERROR" for kind in proxy.types)]
    return FINDINGS if refusing else CLEAN


def table(proxies: Iterable[Any]) -> str:
    rows = [row(proxy) for proxy in sorted(proxies, key=lambda proxy: proxy.node)]
    if not rows:
        return "No proxy is connected.\n"
    widths = [max(len(cells[index]) for cells in (COLUMNS, *rows)) for index in range(len(COLUMNS))]
    lines = [line(COLUMNS, widths), *(line(cells, widths) for cells in rows)]
    return "\n".join([*lines, *refusals(proxies)]) + "\n"


def row(proxy: Any) -> tuple[str, ...]:
    states = {kind.type: state(kind) for kind in proxy.types}
    known = (states.get(name, "-") for name in TYPES)
    return (proxy.node, proxy.kind, proxy.namespace, proxy.user_agent or "-", *known, ago(proxy.connected_seconds))


def state(kind: Any) -> str:
    withheld = f"({len(kind.refused)})" if kind.refused else ""
    return str(kind.state).replace("_", " ") + withheld


def line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(_colored(cell) for cell in [*padded[:-1], cells[-1]])


def _colored(cell: str) -> str:
    color = COLORS.get(cell.partition("(")[0].strip())
    return click.style(cell, fg=color) if color else cell


def refusals(proxies: Iterable[Any]) -> list[str]:
    return [
        f"! {proxy.node} {kind.type.upper()} refused {', '.join(kind.refused) or 'a response'}: {kind.error}"
        for proxy in proxies
        for kind in proxy.types
        if kind.state == "ERROR"
    ]


def ago(seconds: float) -> str:
    """`12s`, `3m`, `5h`, `2d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"
