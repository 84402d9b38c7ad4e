"""What every neutral value shares."""

from __future__ import annotations

import msgspec

Labels = tuple[tuple[str, str], ...]
"""Sorted key-value pairs."""


class Value(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A value compared by identity: the memo keeps the object of what did not change."""
