"""Discovery responses, assembled from parts that are encoded once.

No DiscoveryResponse message is ever built: a response is the concatenation of its fields, and the field of a
resource is made of the same bytes in every response of every stream.
Field numbers: envoy/service/discovery/v3/discovery.proto.
"""

from __future__ import annotations

from itertools import chain
from weakref import WeakKeyDictionary

from xds_server.envoy.encoding import Parts, start
from xds_server.envoy.resource import Resource

_sotw_entries: WeakKeyDictionary[Resource, Parts] = WeakKeyDictionary()
_delta_entries: WeakKeyDictionary[Resource, Parts] = WeakKeyDictionary()


def sotw_response(
    nonce: str,
    identifier: str,
    type_url: str,
    version: str,
    resources: tuple[Resource, ...],
    missing: tuple[str, ...] = (),
) -> bytes:
    """A serialised `DiscoveryResponse`. missing: names that do not exist."""
    head = _text(1, version)
    tail = _text(4, type_url) + _text(5, nonce) + _field(6, _text(1, identifier))
    entries = chain.from_iterable(map(_sotw_entry, resources))
    return b"".join([head, *entries, tail, *map(_not_found, missing)])


def delta_response(
    nonce: str,
    identifier: str,
    type_url: str,
    version: str,
    resources: tuple[Resource, ...],
    removed: tuple[str, ...] = (),
) -> bytes:
    """A serialised `DeltaDiscoveryResponse`."""
    head = _text(1, version)
    tail = _text(4, type_url) + _text(5, nonce) + _field(7, _text(1, identifier))
    return b"".join(
        [head, *chain.from_iterable(map(_delta_entry, resources)), tail, *(_text(6, name) for name in removed)]
    )


def _sotw_entry(resource: Resource) -> Parts:
    entry = _sotw_entries.get(resource)
    if entry is None:
        any_ = _any(resource)
        entry = _sotw_entries[resource] = (start(2, len(any_) + resource.size) + any_, *resource.parts)
    return entry


def _delta_entry(resource: Resource) -> Parts:
    entry = _delta_entries.get(resource)
    if entry is None:
        any_, size, name = _any(resource), resource.size, _text(3, resource.name)
        head = _text(1, resource.version) + start(2, len(any_) + size) + any_
        head = start(2, len(head) + size + len(name)) + head
        entry = _delta_entries[resource] = (head, *resource.parts, name)
    return entry


def _not_found(name: str) -> bytes:
    """A `ResourceError` whose status has the code NOT_FOUND."""
    return _field(7, _field(1, _text(1, name)) + _field(2, b"\x08\x05" + _text(2, "there is no such resource")))


def _any(resource: Resource) -> bytes:
    """An `Any` as far as the body, which comes last."""
    return _text(1, resource.type_url) + (start(2, resource.size) if resource.size else b"")


def _text(number: int, value: str) -> bytes:
    return _field(number, value.encode())


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field; empty ones are left out, as proto3 does."""
    return start(number, len(value)) + value if value else b""
