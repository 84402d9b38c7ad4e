"""Discovery requests, in words that fit both variants, and what they mean."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import Any

import msgspec


class ProtocolError(ValueError):
    """The client broke the protocol so that the stream cannot go on. The text is for its operator."""


class Request(msgspec.Struct, frozen=True):
    """A `DiscoveryRequest` or `DeltaDiscoveryRequest`.

    node: `envoy.config.core.v3.Node`, if the request carried one.
    names: all names of a SotW request; those to subscribe to of a delta request.
    error: Envoy's words when it refuses a response, else None.
    version: of a SotW request, what the client has accepted last.
    versions: of a delta request, what the client has from an earlier stream.
    """

    type_url: str
    nonce: str = ""
    error: str | None = None
    names: Collection[str] = ()
    unsubscribe: Collection[str] = ()
    version: str = ""
    versions: Mapping[str, str] = {}
    node: Any = None


class Meaning(enum.Enum):
    """What a request says about the responses before it. Every request may also change the subscription."""

    SUBSCRIBE = "nothing"
    ACK = "accepts one"
    NACK = "refuses one"
    STALE = "speaks of one that is answered already, or was never sent"


def classify(request: Request, in_flight: Collection[str], last: str) -> Meaning:
    """in_flight: nonces that wait for an answer; last: the newest nonce of the type on the stream, "" for none.

    `error_detail` alone decides between ACK and NACK, never the version (envoy#14841). Names in a stale request still
    count: requests of a stream arrive in order, so the newest one always has the newest names.
    """
    if not last or not request.nonce:
        return Meaning.SUBSCRIBE
    if request.nonce in in_flight:
        return Meaning.ACK if request.error is None else Meaning.NACK
    return Meaning.SUBSCRIBE if request.nonce == last and request.error is None else Meaning.STALE
