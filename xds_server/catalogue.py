"""The catalogue of diagnostics: one line a code. Numbers are never used again for something else.

1xxx reading and schema, 2xxx references, 3xxx conflicts and shadowing, 4xxx routing semantics, 5xxx TLS and
secrets, 6xxx security, 7xxx rejected by Envoy, 8xxx scale. `twins` are the codes of Istio's analyzers (IST)
and Kiali (KIA) for the same mistake.
"""

from __future__ import annotations

import enum

import msgspec


class Level(enum.StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Code(msgspec.Struct, frozen=True):
    """level; template: the message, formatted with the values given; effect: what happens to the traffic."""

    level: Level
    template: str
    effect: str = ""
    twins: tuple[str, ...] = ()


_E, _W, _I = Level.ERROR, Level.WARNING, Level.INFO
_LEFT_OUT = "the object is left out, or keeps its last good form if it had one; everything else goes on"

CATALOGUE: dict[str, Code] = {
    # 1xxx: reading and schema
    "XDS1001": Code(_E, "{detail}", "the file's remaining documents keep their last good form"),
    "XDS1002": Code(_E, "{detail}", "the file is left out; its objects keep their last good form"),
    "XDS1003": Code(_E, "the key {key!r} appears twice in one mapping", _LEFT_OUT),
    "XDS1004": Code(_E, "unknown field {field!r}", _LEFT_OUT, ("IST0106",)),
    "XDS1005": Code(_E, "{detail}", _LEFT_OUT, ("IST0106",)),
    "XDS1006": Code(_I, "{kind} ({api_version}) is not a kind that this server reads", "the objects are ignored"),
    "XDS1007": Code(_W, "{field} is not supported", "the field has no effect"),
    "XDS1008": Code(_E, "{ref} is defined again in {other}", "the first definition counts"),
    "XDS1009": Code(_I, "no objects were found in {source}", "proxies get an empty configuration"),
    "XDS1010": Code(
        _E, "an internal error while translating: {detail}", "the object is left out; please report this bug"
    ),
}
