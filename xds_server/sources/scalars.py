"""What an unquoted YAML scalar means, as Kubernetes reads it.

The rules are those of sigs.k8s.io/yaml (its go-yaml v2, `resolve.go`): `on`, `yes` and `y` are booleans, `1e3` is a
number, `012` is octal, and base 60 and dates are plain strings. What JSON cannot hold (`.nan`, `.inf`) is refused.
"""

from __future__ import annotations

import functools
import math
import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NOT_JSON = frozenset(
    (".nan", ".NaN", ".NAN", *(sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")))
)
_NUMBER_START = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?(?:(0[xX][0-9a-fA-F]+)|(0[bB][01]+)|(0[oO]?[0-7]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = (16, 2, 8, 10)
_LONGEST_INTEGER = 67  # a sign, 0b and 64 bits; whatever is longer overflows


@functools.lru_cache(maxsize=4096)  # the same few keys and values again and again
def resolve(text: str) -> Scalar:
    """The value of a plain scalar. Raises ValueError for one that JSON cannot hold."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    if text in _NOT_JSON:
        raise ValueError(f"{text} has no JSON form")
    return _number(text)


def _number(text: str) -> Scalar:
    plain = text if text[0] == "." else text.replace("_", "")
    match = _INTEGER.fullmatch(plain) if len(plain) <= _LONGEST_INTEGER else None
    if match:
        digits = next(index for index in range(4) if match.group(index + 1))
        number = int(match.group(digits + 1).lower().lstrip("0").lstrip("oxb") or "0", _BASES[digits])
        number = -number if plain[0] == "-" else number
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.fullmatch(plain):
        value = float(plain)
        if math.isfinite(value):
            # Go writes a whole float without an exponent, so that a field of integers takes it.
            return int(value) if value.is_integer() and abs(value) < 2**63 else value
    return text
