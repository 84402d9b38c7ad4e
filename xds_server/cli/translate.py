"""`xds-server translate`: the xDS resources that a directory gives, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from xds_server.cli.inputs import exit_code, inputs_of, load
from xds_server.cli.options import Command
from xds_server.cli.output import FORMATS, formatted
from xds_server.cli.proxies import parse_proxy
from xds_server.cli.reports.text import block
from xds_server.cli.settings_options import with_settings
from xds_server.diagnostics import ObjectRef
from xds_server.dump import SECTIONS, dump, origins, readable
from xds_server.envoy.resource import TYPES, Resources
from xds_server.findings import findings
from xds_server.kube.meta import Source
from xds_server.mesh.defaults import applied
from xds_server.mesh.model import View
from xds_server.mesh.proxy import EVERY_GATEWAY, Proxy
from xds_server.settings import Inputs
from xds_server.translate import translate, view_of


class ProxyType(click.ParamType[Proxy]):
    name = "FILE|SPEC"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Proxy:
        if isinstance(value, Proxy):
            return value
        try:
            return parse_proxy(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _types(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    asked = tuple(value.split(","))
    if unknown := [short for short in asked if short not in TYPES]:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(TYPES)}")
    return asked


@click.command("translate", cls=Command)
@click.argument("directory", metavar="[DIR]", required=False)
@with_settings(Inputs)
@click.option("--proxy", "-p", type=ProxyType(), help="Whose resources.  [default: a gateway that all Gateways select]")
@click.option("--types", "-t", default=",".join(TYPES), callback=_types, show_default=True, help="Which resources.")
@click.option("--output", "-o", type=click.Choice(FORMATS), default="yaml", show_default=True)
@click.option("--explain-defaults", is_flag=True, help="Print instead what holds where nothing is said, and for what.")
def command(
    directory: str | None,
    proxy: Proxy | None,
    types: tuple[str, ...],
    output: str,
    explain_defaults: bool,
    **flags: Any,
) -> int:
    """Print the xDS resources that the YAML in DIR (a directory, a file, or - for stdin), a cluster (--source
    kubernetes), or several of these give a proxy.

    \b
    --proxy is one of
      sidecar,namespace=shop,label.app=web,interception=NONE   (or gateway,...)
      router~10.0.0.1~pod.ns~ns.svc.cluster.local              a node id of Istio
      FILE                                                     a YAML file: a node, or an Envoy bootstrap

    Private keys are never printed. What is wrong with the input goes to stderr.
    """
    snapshot = load(inputs_of(directory, flags))
    translation = translate(snapshot, proxy or EVERY_GATEWAY)
    found = findings(translation.diagnostics, snapshot.sources)
    for finding in found:
        click.echo(block(finding), err=True)
    if explain_defaults:
        click.echo(defaults(view_of(snapshot, proxy or EVERY_GATEWAY)))
    elif output == "yaml":
        click.echo(as_yaml(translation.resources, types, snapshot.sources))
    else:
        click.echo(as_json(translation.resources, types))
    return exit_code(snapshot, found)


def defaults(view: View) -> str:
    """One line for each default, and below it what it holds for."""
    lines = []
    for (what, value, field), names in applied(view):
        if names:
            lines.append(f"{what}: {value}  ({field})")
            lines += [f"  {name}" for name in names]
    return "\n".join(lines)


def as_json(resources: Resources, types: tuple[str, ...]) -> str:
    return formatted(dump(resources, types), "json").rstrip("\n")


def as_yaml(resources: Resources, types: tuple[str, ...], sources: Mapping[ObjectRef, Source] = {}) -> str:
    """As `as_json`, with a comment above each resource that names the objects it was made from."""
    lines: list[str] = []
    for short, url in TYPES.items():
        if short not in types:
            continue
        found = [resource for _, resource in sorted(resources.by_type[url].items())]
        lines.append(f"{SECTIONS[short]}:" if found else f"{SECTIONS[short]}: []")
        for resource in found:
            lines.append(f"# {origins(resource, sources)}")
            lines.append(formatted([readable(resource)], "yaml").rstrip("\n"))
    return "\n".join(lines)
