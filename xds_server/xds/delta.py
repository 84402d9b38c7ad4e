"""Incremental: requests say what to add and take away; responses say what changed and what is gone."""

from __future__ import annotations

from functools import cache

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from google.protobuf.message import DecodeError

from xds_server.envoy.resource import LISTENER
from xds_server.memo import canonical
from xds_server.xds import subscription, wire
from xds_server.xds.order import UNTOLD_REMOVALS
from xds_server.xds.request import ProtocolError, Request
from xds_server.xds.shared import Shared
from xds_server.xds.table import EMPTY_HELD, Change, Held, Rule, doubted, restricted, without
from xds_server.xds.variant import Variant
from xds_server.xds.watch import Watch

_NONE: frozenset[str] = frozenset()


def _read(raw: bytes) -> Request:
    try:
        message = DeltaDiscoveryRequest.FromString(raw)
    except DecodeError as error:
        raise ProtocolError(f"not a DeltaDiscoveryRequest: {error}") from None
    return Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
        names=[
            *message.resource_names_subscribe,
            *(locator.name for locator in message.resource_locators_subscribe),
        ],
        unsubscribe=[
            *message.resource_names_unsubscribe,
            *(locator.name for locator in message.resource_locators_unsubscribe),
        ],
        versions=dict(message.initial_resource_versions),
        node=message.node if message.HasField("node") else None,
    )


def _subscribe(watch: Watch, request: Request, shared: Shared) -> None:
    before = watch.subscription
    if before is not None and not request.names and not request.unsubscribe:
        watch.insisted = _NONE
        return
    watch.insisted = before.names.intersection(request.names) if before else _NONE
    step = subscription.delta(before, request.type_url, request.names, request.unsubscribe)
    after = canonical(shared, step.subscription)
    watch.subscribe(after)
    if before is None and request.versions:
        watch.accepted = Held(dict(request.versions))
        if after.wildcard:
            watch.held = watch.accepted
    if not after:
        watch.forget_all()
    elif step.resend_all and before is not None:
        watch.held = EMPTY_HELD
    elif not after.wildcard and request.unsubscribe:
        watch.held = shared(restricted, watch.held, after.names)
        watch.accepted = shared(restricted, watch.accepted, after.names)
    if step.resend:
        watch.held = shared(without, watch.held, step.resend)
    if step.doubt:
        watch.held = shared(doubted, watch.held, step.doubt)


@cache
def _rule(type_url: str, removals: bool) -> Rule:
    told = type_url not in UNTOLD_REMOVALS
    return Rule(full=False, removals=told and (removals or type_url == LISTENER), absences=told)


def _assemble(nonce: str, identifier: str, type_url: str, version: str, change: Change) -> bytes:
    return wire.delta_response(
        nonce, identifier, type_url, version, change.resources, (*change.removed, *change.absent)
    )


DELTA = Variant("delta", _read, _subscribe, _rule, _assemble)
