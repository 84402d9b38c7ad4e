"""Every behaviour that the specification's checklist names has a test that is named after it, and the ways to break the
delivery that are tried by `make mutations` fit the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.protocol.mutations import ROOT, Mutation, mutations, place

TESTS = Path(__file__).parents[1]
TYPES = ("cds", "lds", "eds", "rds", "sds", "vhds", "odcds", "ecds", "rtds", "rest")
BEHAVIOURS = (
    *(f"m{n}" for n in range(1, 10)),  # messages
    *(f"s{n:02}" for n in range(1, 42) if n != 35),  # state of the world
    *(f"d{n:02}" for n in range(1, 32)),  # delta
    *(f"p{n:02}" for n in range(1, 10)),  # order and pushes
    *(f"t{n:02}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12)),  # transport
    *(f"x{n:02}" for n in range(1, 18)),  # what is left to the operator, times to live, names, errors
    *(f"5_{type_}" for type_ in TYPES),  # what is true of one type
    *(f"9_{n}" for n in range(1, 12)),  # gRPC without a proxy
    *(f"10_{n}" for n in range(1, 7)),  # load reports, health, status, metrics
)
_ID = re.compile(r"([msdptx]\d+|5_[a-z]+|9_\d+|10_\d+)_")


def named() -> set[str]:
    """The ids at the beginnings of the names of tests."""
    found: set[str] = set()
    for file in (*TESTS.glob("protocol/test_*.py"), *TESTS.glob("e2e/test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                rest = node.name.removeprefix("test_")
                while match := _ID.match(rest):
                    found.add(match[1])
                    rest = rest[match.end() :]
    return found


NAMED = named()


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_behaviour_has_a_test(behaviour: str) -> None:
    assert behaviour in NAMED


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: mutation.what)
def test_a_mutation_fits_the_code(mutation: Mutation) -> None:
    assert (ROOT / place(mutation)).read_text(encoding="utf-8").count(mutation.old) == 1
    assert mutation.new != mutation.old


def test_no_test_is_named_after_a_behaviour_that_is_not_listed() -> None:
    assert NAMED - set(BEHAVIOURS) <= {"5_services"}
