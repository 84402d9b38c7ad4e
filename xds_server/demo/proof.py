"""Proves, check by check, that the demo does what it says."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable

import msgspec

from xds_server.demo.client import Target, exchange, fetch
from xds_server.demo.stage import Stage
from xds_server.demo.system import set_split
from xds_server.demo.traffic import Traffic, requests
from xds_server.demo.upstreams import SSL_REQUEST

SAMPLE = 1000
SIGMAS = 5.0
"""A true split is outside of this many standard deviations once in 1.7 million proofs."""

FOLLOW_SECONDS = 30.0


class Check(msgspec.Struct, frozen=True):
    """One line of the result."""

    name: str
    ok: bool
    detail: str


async def prove(stage: Stage) -> AsyncIterator[Check]:
    """The checks in order, each when it is done."""
    yield await _http_split(stage)
    yield await _https(stage)
    yield await _tcp(stage, "postgres", SSL_REQUEST, b"N")
    yield await _tcp(stage, "redis", b"PING\r\n", b"+PONG\r\n")
    yield await _service(stage)
    yield await _edit(stage)


def within(share: float, expected: float, sample: int) -> bool:
    """Whether a measured share can come from the expected one."""
    return abs(share - expected) <= SIGMAS * math.sqrt(expected * (1 - expected) / sample)


async def _http_split(stage: Stage) -> Check:
    traffic = await _sample(stage.site)
    share = traffic.share("v2")
    ok = not traffic.failures and within(share, 0.2, SAMPLE)
    return Check("HTTP split of 20 to 80 on /api/v2", ok, f"v2 {share:.1%} of {SAMPLE}, {_failed(traffic)}")


async def _sample(target: Target) -> Traffic:
    traffic = Traffic(window=SAMPLE)
    senders = 8

    async def send() -> None:
        for _ in range(SAMPLE // senders):
            traffic.record(await fetch(target))

    await asyncio.gather(*(send() for _ in range(senders)))
    return traffic


async def _https(stage: Stage) -> Check:
    reply = await fetch(stage.secure_site)
    return Check("HTTPS with the certificate of the Secret myapp-tls", reply.ok, _said(reply.status, reply.error))


async def _service(stage: Stage) -> Check:
    reply = await fetch(stage.user_api)
    ok = reply.ok and reply.json()["app"] == "user-api"
    return Check("HTTP to user-api through a sidecar", ok, _said(reply.status, reply.error))


async def _tcp(stage: Stage, name: str, question: bytes, answer: bytes) -> Check:
    target = Target(stage.system.ports[name], "")
    try:
        async with asyncio.timeout(10):
            received = await exchange(target, question, until=answer)
    except (OSError, asyncio.IncompleteReadError) as error:
        return Check(f"TCP to {name}", False, f"{type(error).__name__}: {error}")
    return Check(f"TCP to {name}", received == answer, f"answered {received!r}")


async def _edit(stage: Stage) -> Check:
    """Turns the weights round while requests run; none of them may fail."""
    traffic = Traffic()
    loop = asyncio.get_running_loop()
    async with requests(stage.site, traffic, pause=0.005):
        await _until(lambda: traffic.total >= 200)
        started = loop.time()
        set_split(stage.system.articles, {"v2": 80, "v1": 20})
        followed = await _until(lambda: traffic.share("v2") > 0.7)
        seconds = loop.time() - started
        traffic.forget()
        await _until(lambda: traffic.recent().total() >= 300)
    share = traffic.share("v2")
    ok = followed and not traffic.failures and within(share, 0.8, 300)
    detail = f"v2 {share:.1%} within {seconds:.1f} s of the edit, {_failed(traffic)} of {traffic.total}"
    return Check("The traffic follows an edit to 80 to 20", ok, detail)


async def _until(condition: Callable[[], bool]) -> bool:
    """Whether the condition came true in time."""
    deadline = asyncio.get_running_loop().time() + FOLLOW_SECONDS
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def _failed(traffic: Traffic) -> str:
    return f"{len(traffic.failures)} failed"


def _said(status: int, error: str) -> str:
    return error or f"status {status}"
