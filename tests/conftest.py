"""Options of the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected output of golden cases")
    parser.addoption("--update-docs", action="store_true", help="rewrite the generated documentation")
    parser.addoption("--compose", action="store_true", help="also run tests/compose, which need a Docker engine")
