"""`xds-server why`."""

from __future__ import annotations

from typing import Any

import click

from xds_server.cli import channel
from xds_server.cli.exits import CLEAN, FINDINGS
from xds_server.cli.options import Command
from xds_server.cli.output import formatted


@click.command("why", cls=Command)
@click.argument("node")
@click.argument("name", default="")
@click.option("-t", "--type", "kind", type=click.Choice(["cds", "eds", "lds", "rds", "sds"]), help="Only this type.")
@channel.options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(node: str, name: str, kind: str | None, output: str, **server: Any) -> int:
    """Say which objects, and which lines, made the resources that a connected proxy has.

    NODE is the id of the proxy or its beginning (see `xds-server ps`), NAME a part of the resource's name. Exit code 1
    if there is no such resource.
    """
    from google.protobuf.json_format import MessageToDict

    from xds_server.admin import introspection_pb2 as api

    request = api.TraceRequest(node=node, type=kind or "", name=name)
    answer = channel.ask("Trace", request, api.TraceResponse, **server)
    if output == "json":
        found = MessageToDict(answer, preserving_proto_field_name=True).get("resources", [])
        click.echo(formatted(found, "json"), nl=False)
    elif answer.resources:
        click.echo("\n".join(block(resource) for resource in answer.resources))
    else:
        click.echo("No connected proxy has such a resource; see `xds-server ps`.", err=True)
    return CLEAN if answer.resources else FINDINGS


def block(resource: Any) -> str:
    """The resource, and a line for each thing that made it."""
    title = f"{resource.type} {resource.name}"
    head = f"{click.style(title, bold=True)}  version {resource.version}, {resource.state} on {resource.node}"
    return "\n".join([head, *(f"  {line(origin)}" for origin in resource.origins)])


def line(origin: Any) -> str:
    return "  ".join(part for part in (origin.place, origin.object, origin.field) if part)
