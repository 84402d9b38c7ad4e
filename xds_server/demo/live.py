"""The split of the traffic on the terminal, while the user edits it."""

from __future__ import annotations

import asyncio
import sys

import click

from xds_server.demo.stage import SITE, Stage
from xds_server.demo.system import split
from xds_server.demo.traffic import Traffic, requests

BAR = 40
REFRESH = 0.5
"""Seconds between two pictures on a terminal."""

PLAIN_REFRESH = 5.0
"""Seconds between two lines where there is no terminal."""


async def show(stage: Stage, terminal: bool) -> None:
    """Sends requests and draws what comes back until it is cancelled. Raises ProcessEnded."""
    traffic = Traffic()
    click.echo("\n".join(instructions(stage)))
    drawn = 0
    async with requests(stage.site, traffic):
        while True:
            await asyncio.sleep(REFRESH if terminal else PLAIN_REFRESH)
            stage.check()
            lines = picture(stage, traffic) if terminal else [one_line(traffic)]
            if terminal and drawn:
                # Back to the first line of the last picture, and clear from there; not through click, which would
                # take the codes out with the colours.
                sys.stdout.write(f"\x1b[{drawn}F\x1b[J")
            click.echo("\n".join(lines))
            drawn = len(lines)


def instructions(stage: Stage) -> list[str]:
    """What to do, and what to try."""
    system = stage.system
    line, _ = split(system.articles)
    http, https = system.ports["http"], system.ports["https"]
    return [
        "",
        f"Edit the weights, save, and watch:  {system.articles}:{line}",
        "",
        "Try it yourself:",
        f"  curl -H 'Host: {SITE}' http://127.0.0.1:{http}/api/v2",
        f"  curl -k --resolve {SITE}:{https}:127.0.0.1 https://{SITE}:{https}/api/v2",
        f"  curl -x http://127.0.0.1:{system.http_proxy} http://user-api.backend/",
        f"  curl http://127.0.0.1:{stage.server.admin_port}/proxies",
        "",
        "Ctrl-C ends everything.",
        "",
    ]


def picture(stage: Stage, traffic: Traffic) -> list[str]:
    """The table, one string a line."""
    recent = traffic.recent()
    weights = _weights(stage)
    versions = sorted({*recent, *weights})
    rows = [_row(version, weights.get(version), recent[version], traffic.share(version)) for version in versions]
    failed = len(traffic.failures)
    return [
        f"http://{SITE}/api/v2, the last {recent.total()} requests",
        "  version  weight",
        *rows,
        f"  {traffic.total} requests in all, {failed} failed" + (f" ({_why(traffic)})" if failed else ""),
        *(f"  {line}" for line in _problems(stage)),
    ]


def one_line(traffic: Traffic) -> str:
    recent = traffic.recent()
    shares = "  ".join(f"{version} {traffic.share(version):6.1%}" for version in sorted(recent))
    return f"{traffic.total:>7} requests  {len(traffic.failures)} failed  {shares}"


def _row(version: str, weight: int | None, number: int, share: float) -> str:
    bar = "█" * round(share * BAR)
    known = "-" if weight is None else weight
    return f"  {version:<7} {known:>7}  {click.style(f'{bar:<{BAR}}', fg='green')} {share:6.1%} {number:>5}"


def _weights(stage: Stage) -> dict[str, int]:
    import yaml

    try:
        return split(stage.system.articles)[1]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return {}  # the user is in the middle of an edit


def _why(traffic: Traffic) -> str:
    last = traffic.failures[-1]
    return last.error or f"status {last.status}"


def _problems(stage: Stage) -> list[str]:
    """What the server has found wrong and not seen mended."""
    current: dict[str, str] = {}
    for event in stage.server.events:
        if event.get("state") == "found":
            current[event["event"]] = event["level"]
        elif event.get("state") == "gone":
            current.pop(event["event"], None)
    return [click.style(text, fg="red") for text, level in current.items() if level == "error"][:5]
