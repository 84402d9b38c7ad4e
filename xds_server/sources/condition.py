"""How a source is, beside what it has."""

from __future__ import annotations

import msgspec


class Condition(msgspec.Struct, frozen=True):
    """Each in sentences for the operator; all empty when everything is well.

    waiting: what was not read yet. lost: why something cannot be read, or may be out of date. left_out: what cannot be
    read and is done without.
    """

    waiting: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
