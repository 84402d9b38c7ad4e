"""Every benchmark runs, and keeps its rules. Nothing here looks at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.__main__ import BEGIN, BENCHMARKS, END, update
from benchmarks.report import About, Figure, Report, Rule, table

ABOUT = About("A processor", 2, 8, 0.0, "Linux", "3.11.2", {"grpcio": "1.85.1"}, "0123456789ab", False, "2026-01-01")


def report(*found: Figure | Rule) -> Report:
    figures = [one for one in found if isinstance(one, Figure)]
    rules = [one for one in found if isinstance(one, Rule)]
    return Report("probe", "A route", "nothing", ABOUT, figures, rules, 1.0)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_small_run(name: str, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = msgspec.json.decode(file.read_bytes(), type=Report)
    assert result.name == name
    assert result.quick
    assert result.is_good
    assert any(figure.floor for figure in result.figures)
    assert all(figure.value >= 0 for figure in result.figures)


def test_a_figure_is_beside_its_floor_and_its_target() -> None:
    found = report(
        Figure("slow", 30.0, "ms", 10.0, 20.0, "T1"),
        Figure("fast", 30.0, "/s", 10.0, 20.0, "T7", more_is_better=True),
        Rule("only 200", False, "one 503"),
    )
    assert list(table(found)) == [
        "probe: A route",
        "        measured  floor  x floor    asked",
        "  slow   30.0 ms   10.0     3.00  <= 20.0  T1 missed",
        "  fast   30.0 /s   10.0     3.00  >= 20.0  T7 reached",
        "  floor: nothing",
        "  FAIL  only 200: one 503",
    ]
    assert not found.is_good


def test_the_document_gets_the_tables_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    found = report(Figure("slow", 30.0, "ms", asked=20.0, target="T1"), Rule("only 200", True))
    update(document, [found])
    text = document.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "| slow | 30.0 ms |  |  | <= 20.0 | T1 missed |" in text
    assert "| T1 | slow | <= 20.0 | 30.0 ms | missed |" in text
    assert "- kept: only 200" in text
