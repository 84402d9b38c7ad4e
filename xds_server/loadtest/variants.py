"""The two variants of ADS as a client speaks them: all that differs between them, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
    Resource,
)

from xds_server.envoy.resource import CLUSTER, LISTENER
from xds_server.loadtest.references import Reference, examined

SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
WILDCARD = frozenset({CLUSTER, LISTENER})
"""Types that an Envoy asks all of."""

_WRAPPED = "type.googleapis.com/" + Resource.DESCRIPTOR.full_name


class Names(msgspec.Struct, frozen=True, eq=False):
    """A subscription to names. encoded: `resource_names` of a SotW request, made once for all streams."""

    names: tuple[str, ...] = ()
    encoded: bytes = b""


NONE = Names()


Held = Mapping[str, tuple[Reference, ...]]
"""Names that a client has of a type, or knows that there is none; and what each wants."""


class Response(msgspec.Struct, frozen=True, eq=False):
    """What a response says, without its nonce; the same object for every stream that was sent the same."""

    type_url: str
    version: str
    items: Held
    removed: tuple[str, ...] = ()


class Variant(msgspec.Struct, frozen=True, eq=False):
    """path: of the gRPC method. request, response: classes of the messages.

    read: message -> response. after: (held, response) -> held, the same object where no name and no want changed.
    acknowledge: (response, subscription, nonce) -> request.
    subscribe: (type URL, old names, new names, version, nonce) -> request; the last two empty before any response.
    """

    name: str
    path: str
    request: Any
    response: Any
    read: Callable[[Any], Response]
    after: Callable[[Held, Response], Held]
    acknowledge: Callable[[Response, Names, str], bytes]
    subscribe: Callable[[str, Names, Names, str, str], bytes]


def names_of(names: tuple[str, ...]) -> Names:
    return Names(names, DiscoveryRequest(resource_names=names).SerializeToString()) if names else NONE


def _read_sotw(message: Any) -> Response:
    items = []
    for packed in message.resources:
        if packed.type_url == _WRAPPED:  # in a response with time to live
            packed = Resource.FromString(packed.value).resource
        items.append(examined(message.type_url, packed.value))
    return Response(message.type_url, message.version_info, dict(items))


def _read_delta(message: Any) -> Response:
    items = {resource.name: examined(message.type_url, resource.resource.value)[1] for resource in message.resources}
    return Response(message.type_url, message.system_version_info, items, tuple(message.removed_resources))


def _after_sotw(held: Held, response: Response) -> Held:
    if response.type_url in WILDCARD:
        return held if held == response.items else response.items
    return held if held.keys() >= response.items.keys() else {**held, **response.items}


def _after_delta(held: Held, response: Response) -> Held:
    after = {**held, **response.items}
    for name in response.removed:
        after[name] = ()
        if response.type_url in WILDCARD:
            del after[name]
    return held if after == held else after


def _acknowledge_sotw(response: Response, names: Names, nonce: str) -> bytes:
    """Two encoded messages one after the other are one message with the fields of both."""
    head = DiscoveryRequest(type_url=response.type_url, version_info=response.version, response_nonce=nonce)
    return bytes(head.SerializeToString()) + names.encoded


def _acknowledge_delta(response: Response, names: Names, nonce: str) -> bytes:
    return bytes(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=nonce).SerializeToString())


def _subscribe_sotw(type_url: str, old: Names, new: Names, version: str, nonce: str) -> bytes:
    head = DiscoveryRequest(type_url=type_url, version_info=version, response_nonce=nonce)
    return bytes(head.SerializeToString()) + new.encoded


def _subscribe_delta(type_url: str, old: Names, new: Names, version: str, nonce: str) -> bytes:
    before, now = set(old.names), set(new.names)
    message = DeltaDiscoveryRequest(
        type_url=type_url,
        resource_names_subscribe=[name for name in new.names if name not in before],
        resource_names_unsubscribe=[name for name in old.names if name not in now],
    )
    return bytes(message.SerializeToString())


SOTW = Variant(
    "sotw",
    SERVICE + "StreamAggregatedResources",
    DiscoveryRequest,
    DiscoveryResponse,
    _read_sotw,
    _after_sotw,
    _acknowledge_sotw,
    _subscribe_sotw,
)
DELTA = Variant(
    "delta",
    SERVICE + "DeltaAggregatedResources",
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    _read_delta,
    _after_delta,
    _acknowledge_delta,
    _subscribe_delta,
)
VARIANTS = {variant.name: variant for variant in (DELTA, SOTW)}
