"""How a load test went, for people and for machines."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from xds_server.loadtest import errors
from xds_server.loadtest.results import Distribution, Load, Measured, Results, Stalled, distribution, load

BOTTLENECK = 0.8
"""A generator that works or waits for a core for more than this share of the time may be what was measured."""


class Waiting(msgspec.Struct, frozen=True):
    """Streams that are not configured, and what the first of them waits for, at most ten names."""

    streams: int
    missing: list[str]


class Trouble(msgspec.Struct, frozen=True):
    """An error, how often it came and to how many streams, and what to do about it."""

    error: str
    count: int
    streams: int
    hint: str


class Rounds(msgspec.Struct, frozen=True):
    """What the trigger brought. not_reached: how often a stream got nothing before the next round.
    trigger: how long the trigger itself took; the times to the responses begin before it."""

    rounds: int
    not_reached: int
    to_first_response: Distribution | None
    to_last_response: Distribution | None
    trigger: Distribution | None


class Versions(msgspec.Struct, frozen=True):
    """What came without a trigger. spread: from the first stream that got a version to each that got it."""

    versions: int
    spread: Distribution | None


class Report(msgspec.Struct, frozen=True):
    """Times are in milliseconds where nothing else is said."""

    target: str
    variant: str
    tls: bool
    proxies: list[str]
    streams: int
    interrupted: bool
    configured: int
    connect_to_configured: Distribution | None
    all_configured_ms: float | None
    connecting: Load | None
    waiting: Waiting | None
    watched: Load | None
    rounds: Rounds | None
    versions: Versions | None
    stalled: Stalled | None
    types: dict[str, int]
    responses: int
    errors: list[Trouble]
    trigger_error: str

    def flawless(self) -> bool:
        """Whether every stream was configured and none was lost."""
        return self.configured == self.streams and not self.errors and not self.trigger_error


def report(results: Results, measured: Measured, target: str, variant: str, tls: bool, proxies: list[str]) -> Report:
    """What is known, also of a test that was interrupted."""
    complete = len(results.configured) == results.streams
    first, last = min(results.began.values(), default=0.0), max(results.configured.values(), default=0.0)
    return Report(
        target=target,
        variant=variant,
        tls=tls,
        proxies=proxies,
        streams=results.streams,
        interrupted=measured.interrupted,
        configured=len(results.configured),
        connect_to_configured=results.connecting(),
        all_configured_ms=(last - first) * 1e3 if complete else None,
        connecting=load(measured.began, measured.configured or measured.ended),
        waiting=_waiting(measured.missing),
        watched=load(measured.configured, measured.watched or measured.ended, measured.bursts),
        rounds=_rounds(results, measured) if results.rounds else None,
        versions=Versions(len(results.spreads), results.spread()) if results.spreads else None,
        stalled=measured.stalled,
        types=results.by_type(),
        responses=results.responses,
        errors=_troubles(results),
        trigger_error=measured.trigger_error,
    )


def text(report: Report) -> str:
    """A table."""
    return "\n".join(_lines(report)) + "\n"


def _rounds(results: Results, measured: Measured) -> Rounds:
    return Rounds(
        rounds=len(results.rounds),
        not_reached=sum(len(each.waiting) for each in results.rounds),
        to_first_response=results.to_first(),
        to_last_response=results.to_last(),
        trigger=distribution(measured.pulling),
    )


def _waiting(missing: list[list[str]]) -> Waiting | None:
    return Waiting(len(missing), missing[0][:10]) if missing else None


def _troubles(results: Results) -> list[Trouble]:
    found = [
        Trouble(error, streams.total(), len(streams), errors.hint(error)) for error, streams in results.errors.items()
    ]
    return sorted(found, key=lambda trouble: -trouble.count)


def _lines(report: Report) -> Iterator[str]:
    way = "TLS" if report.tls else "plaintext"
    yield f"{report.target}: {_streams(report.streams)}, {report.variant}, {way}, {'; '.join(report.proxies)}"
    if report.interrupted:
        yield "interrupted: this is what was measured so far"
    yield ""
    yield from _times(report)
    yield ""
    yield from _amounts(report)
    yield ""
    yield from _facts(report)
    yield from _failures(report)


def _times(report: Report) -> Iterator[str]:
    yield f"{'':34}" + "".join(f"{head:>12}" for head in ("p50", "p90", "p99", "last"))
    yield from _row("connect to configured", report.connect_to_configured)
    if report.rounds:
        yield from _row("trigger to first response", report.rounds.to_first_response)
        yield from _row("trigger to last response", report.rounds.to_last_response)
        yield from _row("  of that, the trigger itself", report.rounds.trigger)
    if report.versions:
        yield from _row("a version's first stream to each", report.versions.spread)


def _row(what: str, times: Distribution | None) -> Iterator[str]:
    if times:
        cells = (times.p50, times.p90, times.p99, times.last)
        yield f"{what:34}" + "".join(f"{cell:9,.1f} ms" for cell in cells)


def _amounts(report: Report) -> Iterator[str]:
    heads = ("responses", "a second", "MB", "MB/s", "client CPU", "busy", "server CPU", "busy")
    yield f"{'':11}" + "".join(f"{head:>11}" for head in heads)
    for what, amount in (("connecting", report.connecting), ("watching", report.watched)):
        if amount:
            numbers = amount.responses, amount.responses_per_second
            sizes = amount.bytes / 1e6, amount.bytes_per_second / 1e6
            cells = [*(f"{number:,.0f}" for number in numbers), *(f"{size:,.1f}" for size in sizes)]
            yield f"{what:11}" + "".join(f"{cell:>11}" for cell in [*cells, *_cpu(amount)])


def _cpu(amount: Load) -> Iterator[str]:
    for cpu in (amount.generator, amount.server):
        if cpu:
            yield "-" if cpu.us_per_response is None else f"{cpu.us_per_response:,.0f} us"
            yield f"{cpu.busy:.0%}"
        else:
            yield from ("-", "-")


def _facts(report: Report) -> Iterator[str]:
    after = f", all after {report.all_configured_ms:,.0f} ms" if report.all_configured_ms is not None else ""
    yield f"configured  {report.configured:,} of {_streams(report.streams)}{after}"
    if report.waiting:
        yield f"waiting     {_streams(report.waiting.streams)}, one of them for {', '.join(report.waiting.missing)}"
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in report.types.items())
    yield f"accepted    {report.responses:,} responses" + (f": {kinds}" if kinds else "")
    if report.rounds:
        missed = report.rounds.not_reached
        reached = f"{missed:,} times a stream got nothing" if missed else "each reached every stream"
        yield f"rounds      {report.rounds.rounds:,}, {reached}"
    if report.versions:
        yield f"versions    {report.versions.versions:,}"
    if report.stalled:
        each = report.stalled
        closed = f"; the server had closed {each.closed:,}" if each.closed else ""
        yield (
            f"stalled     {_streams(each.streams)}; in the end they read {each.responses:,} responses, "
            f"{each.bytes / 1e6:,.1f} MB, that waited for them, in {each.seconds * 1e3:,.0f} ms{closed}"
        )
    yield from _client([part for part in (report.connecting, report.watched) if part])


def _client(parts: list[Load]) -> Iterator[str]:
    """Whether the generator was what was measured."""
    if not parts:
        return
    busiest = max(parts, key=lambda part: part.generator.busy + part.generator_waiting)
    used, waited = busiest.generator.busy, busiest.generator_waiting
    slow = "times may be its own: upper bounds" if used + waited > BOTTLENECK else "it was not the bottleneck"
    yield f"client      used {used:.0%} of a core at most, and waited for one {waited:.0%} of the time: {slow}"


def _failures(report: Report) -> Iterator[str]:
    if report.trigger_error:
        yield f"error       {report.trigger_error}"
    for trouble in report.errors:
        yield f"error       {trouble.count:,} times, {_streams(trouble.streams)}: {trouble.error}"
        if trouble.hint:
            yield f"            {trouble.hint}"
    if report.flawless():
        yield "errors      none"


def _streams(count: int) -> str:
    return f"{count:,} stream" + ("s" if count != 1 else "")
