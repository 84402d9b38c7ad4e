"""Options of the whole suite."""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, settings

# A gate must give the same answer twice; who runs the suite by hand tries something new each time.
settings.register_profile("ci", derandomize=True)
# Of broken code only whether it is found counts (tests/protocol/mutations.py).
settings.register_profile("found", derandomize=True, phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected output of golden cases")
    parser.addoption("--update-docs", action="store_true", help="rewrite the generated documentation")
    parser.addoption("--compose", action="store_true", help="also run tests/compose, which need a Docker engine")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one line what was skipped because something is missing here, such as a cluster."""
    reasons = [report.longrepr[2] for report in terminalreporter.getreports("skipped")]
    for reason in sorted({reason for reason in reasons if reason.startswith("Skipped: NO ")}):
        terminalreporter.write_line(f"{reasons.count(reason)} tests {reason}", yellow=True)
