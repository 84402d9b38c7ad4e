"""How a stream is doing, for people: CSDS, the admin endpoints, metrics."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from xds_server.envoy.resource import Resource


class State(enum.StrEnum):
    """Of one type on one stream, in the words of `envoy.service.status.v3.ConfigStatus`."""

    SYNCED = "SYNCED"  # all is accepted
    NOT_SENT = "NOT_SENT"  # nothing was asked for, or nothing answered yet
    STALE = "STALE"  # something is sent and not yet accepted
    ERROR = "ERROR"  # something was refused


class TypeStatus(msgspec.Struct, frozen=True):
    """version: accepted last; sent: sent last; error: why the last response was refused, "" if it was not;
    since: when the client answered last, on the clock of `receive`; refused: names withheld from the proxy."""

    type_url: str
    state: State
    version: str = ""
    sent: str = ""
    error: str = ""
    since: float = 0.0
    refused: tuple[str, ...] = ()


class ResourceStatus(NamedTuple):
    """A resource that a client asked for. version: what the client has accepted, "" if nothing.
    error: the client's words when it refused a response of the type."""

    resource: Resource
    state: State
    version: str = ""
    error: str = ""
