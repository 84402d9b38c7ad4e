"""The two variants of the protocol, as values: all that differs between them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from xds_server.xds.request import Request
from xds_server.xds.shared import Shared
from xds_server.xds.table import Change, Rule
from xds_server.xds.watch import Watch


class Variant(msgspec.Struct, frozen=True, eq=False):
    """name: "sotw" or "delta", for people and metrics.

    read: request bytes -> request; raises ProtocolError.
    subscribe: updates a watch's subscription, and what has to be sent again because of it.
    rule: (type URL, whether removals may be told by now) -> how the type's changes are told.
    assemble: (nonce, identifier, type URL, version, change) -> response bytes.
    """

    name: str
    read: Callable[[bytes], Request]
    subscribe: Callable[[Watch, Request, Shared], None]
    rule: Callable[[str, bool], Rule]
    assemble: Callable[[str, str, str, str, Change], bytes]
