"""The admin endpoints: what the server knows about itself, read only."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from xds_server.findings import Finding, as_json
from xds_server.sources.health import SourceStatus
from xds_server.version import __version__

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Answers(msgspec.Struct, frozen=True):
    """Where the endpoints get what they say.

    not_ready: sentences, none when the xDS server answers streams. stale: sentences, none when all that it answers is
    made from what the sources have now.
    sources: a row for each. proxies: a row of JSON values for each stream. metrics: Prometheus' text format.
    """

    not_ready: Callable[[], Sequence[str]]
    stale: Callable[[], Sequence[str]]
    sources: Callable[[], Sequence[SourceStatus]]
    proxies: Callable[[], Sequence[dict[str, Any]]]
    diagnostics: Callable[[], Awaitable[Sequence[Finding]]]
    metrics: Callable[[], bytes]


def admin_app(answers: Answers) -> Starlette:
    """The routes as a table; GET and HEAD only."""

    async def index(_: Request) -> Response:
        return PlainTextResponse("".join(f"{path}\n" for path in routes))

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        reasons = list(answers.not_ready())
        sources = [msgspec.to_builtins(source) for source in answers.sources()]
        answer = {"ready": not reasons, "reasons": reasons, "stale": list(answers.stale()), "sources": sources}
        return JSONResponse(answer, status_code=503 if reasons else 200)

    async def metrics(_: Request) -> Response:
        return Response(answers.metrics(), media_type=METRICS_TYPE)

    async def version(_: Request) -> Response:
        return JSONResponse({"version": __version__, "python": platform.python_version()})

    async def proxies(_: Request) -> Response:
        return JSONResponse(list(answers.proxies()))

    async def diagnostics(_: Request) -> Response:
        found = await answers.diagnostics()
        body = await asyncio.to_thread(lambda: msgspec.json.encode([as_json(finding) for finding in found]))
        return Response(body, media_type="application/json")

    routes = {
        "/": index,
        "/healthz": healthz,
        "/readyz": readyz,
        "/metrics": metrics,
        "/version": version,
        "/proxies": proxies,
        "/diagnostics": diagnostics,
    }
    return Starlette(routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in routes.items()])
