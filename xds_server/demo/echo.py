"""One upstream of the demo as a process of its own, for a container: `python -m xds_server.demo.echo --app web`."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import Any

import click

from xds_server.demo.client import Target, fetch
from xds_server.demo.system import Workload
from xds_server.demo.upstreams import PROTOCOLS, Serve, serve_http, upstream


def calling(url: str, via: int) -> Serve:
    """Like `serve_http`, but it first asks `url` (http://HOST/PATH) of the HTTP proxy on this machine, and its answer
    has that answer in it, as `called`."""
    host, _, path = url.removeprefix("http://").partition("/")
    target = Target(via, host, f"/{path}")

    async def ask() -> dict[str, Any]:
        reply = await fetch(target)
        return {"called": reply.json() if reply.ok else {"url": url, "status": reply.status, "error": reply.error}}

    async def serve(workload: Workload, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve_http(workload, reader, writer, ask)

    return serve


async def run(workload: Workload, serve: Serve) -> None:
    """Serves until SIGTERM or SIGINT; PID 1 of a container gets no default for them."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with upstream(workload, serve) as running:
        click.echo(json.dumps({"event": "serving", "app": running.app, "port": running.port}))
        await stop.wait()


@click.command()
@click.option("--app", required=True, help="What it calls itself; `redis` and `postgres` also speak like these.")
@click.option("--version", default="", help="Its version.")
@click.option("--host", default="0.0.0.0", show_default=True)
@click.option("--port", default=8080, show_default=True)
@click.option("--calls", default="", metavar="URL", help="Ask this URL whenever asked.")
@click.option("--via", default=15080, show_default=True, help="Port of the HTTP proxy on 127.0.0.1 for --calls.")
@click.option("--check", is_flag=True, help="Only say, by the exit code, whether it takes connections.")
def main(app: str, version: str, host: str, port: int, calls: str, via: int, check: bool) -> None:
    """Serve HTTP that says who answered, or play Redis or Postgres."""
    if check:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        return
    serve = calling(calls, via) if calls else PROTOCOLS.get(app, serve_http)
    asyncio.run(run(Workload(app, version, host, port), serve))


if __name__ == "__main__":
    main()
