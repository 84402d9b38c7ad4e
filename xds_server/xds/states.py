"""How a stream is doing, for people: CSDS, the admin endpoints, metrics."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from xds_server.envoy.resource import Resource
from xds_server.xds.table import ABSENT, version_of
from xds_server.xds.watch import Watch


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


def type_status(type_url: str, watch: Watch | None, refused: tuple[str, ...]) -> TypeStatus:
    """watch: None when the client did not ask for the type."""
    if watch is None or not watch.answered or not watch.wants:
        return TypeStatus(type_url, State.NOT_SENT, refused=refused)
    if refused or watch.trials or watch.unexplained:
        state, error = State.ERROR, watch.error
    else:
        state, error = State.STALE if watch.in_flight or watch.due else State.SYNCED, ""
    return TypeStatus(type_url, state, watch.version, watch.sent_version, error, watch.since, refused)


def resource_status(watch: Watch, resource: Resource, withheld: bool) -> ResourceStatus:
    has = version_of(watch.accepted.rows.get(resource.name, ABSENT))
    if withheld:
        return ResourceStatus(resource, State.ERROR, has, watch.error)
    if has == resource.version:
        return ResourceStatus(resource, State.SYNCED, has)
    sent = version_of(watch.held.rows.get(resource.name, ABSENT)) == resource.version
    return ResourceStatus(resource, State.STALE if sent else State.NOT_SENT, has)
