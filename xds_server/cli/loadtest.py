"""`xds-server loadtest`."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xds_server.cli import channel
from xds_server.cli.exits import CLEAN, FINDINGS, INTERRUPTED, CannotRun
from xds_server.cli.options import Command
from xds_server.cli.output import formatted
from xds_server.cli.proxies import parse_node
from xds_server.kube.units import Duration

if TYPE_CHECKING:
    from xds_server.loadtest.fleet import Target
    from xds_server.loadtest.run import LoadTest, Plan
    from xds_server.loadtest.triggers import Trigger

SPARE_FILES = 64
"""Files that the generator opens beside its connections."""


class Seconds(click.ParamType[float]):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value) if isinstance(value, int | float) else Duration.parse(str(value)).seconds
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds < 0:
            self.fail("it must not be negative", param, ctx)
        return seconds


class Part(click.ParamType[str]):
    """A number of streams, or a share of them."""

    name = "n|n%"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        number = text.removesuffix("%")
        if not number.isdecimal() or (text.endswith("%") and int(number) > 100):
            self.fail(f"{text!r} is neither a number such as 20 nor a share such as 10%", param, ctx)
        return text


@click.command("loadtest", cls=Command)
@click.argument("target", metavar="HOST:PORT")
@click.option("--streams", type=click.IntRange(1), default=100, show_default=True, help="How many Envoys.")
@click.option("--variant", type=click.Choice(["delta", "sotw"]), default="delta", show_default=True, help="Of ADS.")
@click.option(
    "--proxy",
    "-p",
    "proxies",
    multiple=True,
    default=("sidecar",),
    show_default=True,
    metavar="FILE|SPEC",
    help="Who the Envoys are; repeat for several kinds, which take turns.",
)
@click.option("--rate", type=click.FloatRange(0), default=0.0, help="Connections per second.  [default: all at once]")
@click.option("--duration", type=Seconds(), help="How long to watch without a trigger.  [default: 10s]")
@click.option("--trigger", metavar="COMMAND", help="A shell command that makes a change; $ROUND counts from 1.")
@click.option(
    "--swap",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE OTHER",
    help="A change without a command: FILE gets the content of OTHER and its own in turns.",
)
@click.option("--rounds", type=click.IntRange(1), help="How many changes are made.  [default: 10]")
@click.option(
    "--every", type=Seconds(), help="From change to change, at least; 0s: as fast as possible.  [default: 1s]"
)
@click.option(
    "--timeout", type=Seconds(), default=30.0, help="How long connecting may take, and each round.  [default: 30s]"
)
@click.option("--stalled", type=Part(), default="0", help="Envoys that stop reading once all are configured.")
@click.option("--server-pid", type=click.IntRange(1), help="Also tell the CPU time of this process.")
@channel.tls_options
@click.option("--tls-server-name", default="", help="Whom the server's certificate is for.  [default: HOST]")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(target: str, output: str, **options: Any) -> int:
    """Load a control plane, this one or any other, with synthetic Envoys, and tell how fast it serves them.

    Each Envoy has a connection of its own, asks in the order of a real one and accepts everything. Once all are
    configured, the changes of --trigger or --swap are made and timed, or what comes by itself is watched.

    \b
    --proxy is one of
      sidecar,namespace=shop,label.app=web,interception=NONE   (or gateway,...)
      router~10.0.0.1~pod.ns~ns.svc.cluster.local              a node id of Istio
      FILE                                                     a YAML file: a node, or an Envoy bootstrap

    Each id gets a number. Exit code 1 if an Envoy was not configured or lost its stream. Ctrl-C ends the test and
    prints what was measured so far.
    """
    import msgspec

    from xds_server.loadtest.report import report, text
    from xds_server.loadtest.run import LoadTest

    test = LoadTest(_plan(target, options))
    _run(test)
    proxies = list(options["proxies"])
    made = report(test.results, test.measured, target, options["variant"], bool(test.plan.target.tls), proxies)
    click.echo(formatted(msgspec.to_builtins(made), "json") if output == "json" else text(made), nl=False)
    if made.interrupted:
        return INTERRUPTED
    return CLEAN if made.flawless() else FINDINGS


def _run(test: LoadTest) -> None:
    import uvloop

    from xds_server.loadtest.run import NobodyConnected

    async def until_signal() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with _progress(test):
            await test.run(stop)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(until_signal())
    except NobodyConnected as error:
        raise CannotRun(f"{test.plan.target.authority}: {error}") from None


@contextlib.asynccontextmanager
async def _progress(test: LoadTest) -> Any:
    """A line on the terminal that says how far the test is."""
    if not sys.stderr.isatty():
        yield
        return

    async def show() -> None:
        while True:
            results = test.results
            line = f"{test.phase}: {len(results.configured):,} of {results.streams:,} configured, "
            click.echo(f"\r\x1b[K{line}{results.responses:,} responses", nl=False, err=True)
            await asyncio.sleep(0.2)

    showing = asyncio.create_task(show())
    try:
        yield
    finally:
        showing.cancel()
        click.echo("\r\x1b[K", nl=False, err=True)


def _plan(target: str, options: dict[str, Any]) -> Plan:
    from xds_server.loadtest.run import Plan
    from xds_server.loadtest.variants import VARIANTS

    streams, variant = options["streams"], VARIANTS[options["variant"]]
    changes = _trigger(options)
    _raise_file_limit(streams)
    return Plan(
        target=_target(target, options),
        variant=variant,
        first_requests=_first_requests(variant, options["proxies"], streams),
        rate=options["rate"],
        duration=10.0 if options["duration"] is None else options["duration"],
        timeout=options["timeout"],
        stalled=_part(options["stalled"], streams),
        trigger=changes,
        rounds=options["rounds"] or 10,
        every=1.0 if options["every"] is None else options["every"],
        server_pid=options["server_pid"],
    )


def _trigger(options: dict[str, Any]) -> Trigger | None:
    from xds_server.loadtest.triggers import Command as ShellCommand
    from xds_server.loadtest.triggers import Swap

    command, swap = options["trigger"], options["swap"]
    if command and swap:
        raise click.UsageError("--trigger and --swap exclude each other")
    if (command or swap) and options["duration"] is not None:
        raise click.UsageError("--duration is for a test without changes; with them --rounds and --every say how long")
    if not (command or swap) and (options["rounds"] or options["every"] is not None):
        raise click.UsageError("--rounds and --every need --trigger or --swap")
    if swap:
        return Swap(*swap)
    return ShellCommand(command) if command else None


def _first_requests(variant: Any, proxies: tuple[str, ...], streams: int) -> tuple[bytes, ...]:
    from xds_server.loadtest.envoy import first_request
    from xds_server.loadtest.nodes import node, numbered

    try:
        nodes = [node(parse_node(proxy)) for proxy in proxies]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--proxy") from None
    return tuple(first_request(variant, numbered(nodes[number % len(nodes)], number)) for number in range(streams))


def _target(target: str, options: dict[str, Any]) -> Target:
    from xds_server.loadtest.fleet import Target

    host, colon, port = target.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.UsageError(f"{target!r} is not of the form HOST:PORT, such as 127.0.0.1:15010")
    host = host.strip("[]")
    try:
        address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][4][0]
    except socket.gaierror as error:
        raise CannotRun(f"{host} is not known: {error.strerror}") from None
    tls = _tls(options["tls_ca"], options["tls_cert"], options["tls_key"])
    server_name = (options["tls_server_name"] or host) if tls else None
    return Target(str(address), int(port), target, tls, server_name)


def _tls(ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    if bool(certificate) != bool(key):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    if not ca:
        if certificate:
            raise click.UsageError("--tls-cert and --tls-key need --tls-ca")
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise CannotRun(f"{ca}, {certificate} or {key} cannot be used: {error.reason or error}") from None
    except OSError as error:
        raise CannotRun(f"the files of --tls-ca, --tls-cert and --tls-key: {error.strerror}") from None
    context.set_alpn_protocols(["h2"])
    return context


def _part(text: str, streams: int) -> int:
    return streams * int(text[:-1]) // 100 if text.endswith("%") else min(int(text), streams)


def _raise_file_limit(streams: int) -> None:
    """Every stream is a connection, and every connection an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = streams + SPARE_FILES
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise CannotRun(
            f"{streams:,} streams need {needed:,} open files, and {hard:,} are allowed; "
            "use fewer --streams, or raise the hard limit (`ulimit -Hn`, LimitNOFILE of systemd)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
