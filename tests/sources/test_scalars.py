from __future__ import annotations

import pytest

from xds_server.sources.scalars import Scalar, resolve

READ: dict[str, Scalar] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "nULL": "nULL",
    "y": True,
    "Yes": True,
    "on": True,
    "TRUE": True,
    "tRUE": "tRUE",
    "n": False,
    "No": False,
    "off": False,
    "12:30:00": "12:30:00",
    "190:20:30.15": "190:20:30.15",
    "2001-12-14": "2001-12-14",
    "2001-12-14t21:59:43.10-05:00": "2001-12-14t21:59:43.10-05:00",
    "1.2.3": "1.2.3",
    "0": 0,
    "-0": 0,
    "+12": 12,
    "-12": -12,
    "1_000": 1000,
    "0x1F": 31,
    "0o17": 15,
    "017": 15,
    "-017": -15,
    "08": 8,
    "0b101": 5,
    "-0b11": -3,
    "0x": "0x",
    "0b12": "0b12",
    "9223372036854775807": 2**63 - 1,
    "18446744073709551615": 2**64 - 1,
    "18446744073709551616": 1.8446744073709552e19,
    "0xFFFFFFFFFFFFFFFFF": "0xFFFFFFFFFFFFFFFFF",
    "1e3": 1000,
    "1E+3": 1000,
    "1.5": 1.5,
    "1.": 1,
    ".5": 0.5,
    "-.5e1": -5,
    ".": ".",
    "-": "-",
    "+": "+",
    "1e400": "1e400",
    "9" * 400: "9" * 400,
    "1e": "1e",
    "٣": "٣",
    "v1": "v1",
    "=": "=",
    "<<": "<<",
}


@pytest.mark.parametrize(("text", "value"), READ.items())
def test_a_plain_scalar_is_what_kubernetes_reads(text: str, value: Scalar) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.inf", "+.INF"])
def test_what_json_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has no JSON form"):
        resolve(text)
