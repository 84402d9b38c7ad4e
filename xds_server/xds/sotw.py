"""State of the world: each request says all names; CDS and LDS responses carry everything.

What was asked for by name and does not exist is said to be NOT_FOUND (gRFC A88), so that a gRPC client need not wait
for it; Envoy 1.40 takes no notice.
"""

from __future__ import annotations

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest
from google.protobuf.message import DecodeError

from xds_server.envoy.resource import CLUSTER, LISTENER
from xds_server.memo import canonical
from xds_server.xds import subscription, wire
from xds_server.xds.order import UNTOLD_REMOVALS
from xds_server.xds.request import ProtocolError, Request
from xds_server.xds.shared import Shared
from xds_server.xds.table import Change, Rule, restricted
from xds_server.xds.variant import Variant
from xds_server.xds.watch import Watch

_FULL = Rule(full=True, removals=True, absences=True)
_PARTIAL = Rule(full=False, removals=False, absences=True)
_SILENT = Rule(full=False, removals=False, absences=False)


def _read(raw: bytes) -> Request:
    try:
        message = DiscoveryRequest.FromString(raw)
    except DecodeError as error:
        raise ProtocolError(f"not a DiscoveryRequest: {error}") from None
    return Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
        names=frozenset([*message.resource_names, *(locator.name for locator in message.resource_locators)]),
        version=message.version_info,
        node=message.node if message.HasField("node") else None,
    )


def _subscribe(watch: Watch, request: Request, shared: Shared) -> None:
    before = watch.subscription
    after = canonical(shared, subscription.sotw(before, request.type_url, frozenset(request.names)))
    if before is None and after.wildcard:
        # The version covers all that there is. A client that names resources may be waiting for them although it
        # has the version (envoy#22418), so they are sent.
        watch.resumed_version = request.version
    if after == before:
        return
    watch.subscribe(after)
    if not after:
        watch.forget_all()
    elif before and not after.wildcard:
        watch.held = shared(restricted, watch.held, after.names)
        watch.accepted = shared(restricted, watch.accepted, after.names)


def _rule(type_url: str, removals: bool) -> Rule:
    if type_url in UNTOLD_REMOVALS:
        return _SILENT
    return _FULL if type_url in (CLUSTER, LISTENER) else _PARTIAL


def _assemble(nonce: str, identifier: str, type_url: str, version: str, change: Change) -> bytes:
    missing = change.absent if change.full else (*change.removed, *change.absent)
    return wire.sotw_response(nonce, identifier, type_url, version, change.resources, missing)


SOTW = Variant("sotw", _read, _subscribe, _rule, _assemble)
