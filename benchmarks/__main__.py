"""All benchmarks, one after the other: `python -m benchmarks [--quick] [--only NAME ...] [--update-docs]`.

Each runs as a process of its own and writes benchmarks/results/NAME.json; the tables come at the end. Exits with 1
when a rule was broken or a benchmark did not end in time.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.report import HEAD, Report, rows, table

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by `python -m benchmarks --update-docs` -->", "<!-- end of figures -->"

BENCHMARKS = {
    "stages": 120,
    "translation": 300,
    "delivery": 900,
    "probe": 300,
    "routechange": 120,
    "route_load": 400,
    "failover": 200,
    "inputs": 300,
    "start": 300,
}
"""Name -> the seconds after which it counts as hanging: several times what it takes on two idle cores."""

LAST_SECONDS = 30
"""How long a benchmark that takes too long may take to end its servers and Envoys."""


def run(name: str, seconds: float, more: list[str]) -> tuple[bool, str]:
    """Whether it went well, and why not."""
    file = RESULTS / f"{name}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(file), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # so that it ends what it started
            process.communicate(timeout=LAST_SECONDS)
            return False, f"it did not end in {seconds} s"
    return process.returncode == 0, "" if file.exists() else output


def results(names: list[str]) -> Iterator[Report]:
    for name in names:
        if (file := RESULTS / f"{name}.json").exists():
            yield msgspec.json.decode(file.read_bytes(), type=Report)


def markdown(reports: list[Report]) -> Iterator[str]:
    """The tables as a document has them."""
    if not reports:
        return
    first = reports[0].about
    versions = ", ".join(f"{name} {version}" for name, version in first.versions.items() if version)
    yield f"{first.machine}, {first.cores} cores, {first.memory} GB, {first.system},"
    yield f"Python {first.python}, {versions}."
    yield from ("", "### Targets", "", "| | figure | asked | measured | |", "|---|---|--:|--:|---|")
    yield from (f"| {' | '.join(row)} |" for row in sorted(targets(reports), key=lambda row: int(row[0][1:])))
    for report in reports:
        yield from ("", f"### {report.name}", "", f"{report.title}. Floor: {report.floors}. {_when(report)}.")
        yield from ("", f"| {' | '.join(HEAD)} |", "|---|--:|--:|--:|--:|---|")
        yield from (f"| {' | '.join(row)} |" for row in rows(report))
        if report.rules:
            yield ""
        for rule in report.rules:
            detail = f": {rule.detail}" if rule.detail else ""
            yield f"- {'kept' if rule.is_kept else '**broken**'}: {rule.what}{detail}"


def _when(report: Report) -> str:
    changes = " with changes" if report.about.dirty else ""
    where = f"{report.about.date}, commit {report.about.commit}{changes}"
    return f"{where}, in {report.seconds:.0f} s; the machine's load was {report.about.load} when it began"


def targets(reports: list[Report]) -> Iterator[tuple[str, ...]]:
    """The target, what it is about, what was asked, what was measured, and what came of it."""
    for report in reports:
        for figure, (what, measured, _, _, asked, verdict) in zip(report.figures, rows(report), strict=True):
            if verdict:
                yield figure.target, what, asked, measured, verdict.removeprefix(f"{figure.target} ")


def update(document: Path, reports: list[Report]) -> None:
    """Writes the tables between the marks of the document."""
    text = document.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    assert mark, f"{document} has no place for the figures"
    document.write_text("\n".join([before + BEGIN, "", *markdown(reports), "", END + after]), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small runs to see that they work; times mean nothing")
    parser.add_argument(
        "--update-docs", action="store_true", help="write the newest tables of all into docs/performance.md"
    )
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    bad = []
    for name in options.only:
        began = time.monotonic()
        is_good, problem = run(name, BENCHMARKS[name], ["--quick"] if options.quick else [])
        bad += [] if is_good else [name]
        print(f"{name}: {time.monotonic() - began:.0f} s {problem or ('' if is_good else 'FAIL')}".rstrip(), flush=True)
    reports = list(results(options.only))
    for report in reports:
        print("", *table(report), sep="\n")
    if options.update_docs:
        update(DOCUMENT, list(results(list(BENCHMARKS))))
    print(f"\n{'all rules kept' if not bad else 'FAIL: ' + ', '.join(bad)}; the JSON is in {RESULTS}")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
