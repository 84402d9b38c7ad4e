"""A sealed xDS resource: the unit of versioning, delivery and provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from xds_server.incremental import Fixed, Pieces, fixed
from xds_server.mesh.origin import Origin

PREFIX = "type.googleapis.com/"
LISTENER = PREFIX + "envoy.config.listener.v3.Listener"
ROUTE = PREFIX + "envoy.config.route.v3.RouteConfiguration"
CLUSTER = PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

TYPES: Mapping[str, str] = {"lds": LISTENER, "rds": ROUTE, "cds": CLUSTER, "eds": ENDPOINT, "sds": SECRET}
"""Short name of each discovery service -> type URL of its resources."""


class Resource(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """One xDS resource, ready to send.

    parts: joined, the deterministic serialisation of the message (`Any.value`). What is large is in parts of which
        those that do not change are the same objects, and never copied.
    version: the hash of the body, or of hashes of what is in it; the same in every process and on every replica.
    origins: what made it, most important first; of what is large, some may be there several times.
    references: the resources that it names, as (type URL, name): an EDS cluster its load assignment, a
        listener its route configurations and secrets, a route configuration its clusters.
    """

    type_url: str
    name: str
    version: str
    parts: tuple[bytes, ...]
    origins: Sequence[Origin] = ()
    references: Sequence[tuple[str, str]] = ()

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.parts))


class Resources(msgspec.Struct, frozen=True, eq=False):
    """All that one proxy group gets: type URL -> name -> resource, in no order.

    Every type of `TYPES` is present. A resource that did not change is the same object as before, and so are the
    resources of a type in which nothing did.
    """

    by_type: Mapping[str, Fixed[str, Resource]]


EMPTY = Resources({type_url: fixed() for type_url in TYPES.values()})


def sealed(
    type_url: str,
    name: str,
    message: Any,
    origins: Iterable[Origin] = (),
    references: Iterable[tuple[str, str]] = (),
) -> Resource:
    """Serialises a protobuf message once. Messages nested in an Any must have been packed deterministically."""
    body = message.SerializeToString(deterministic=True)
    made_by = origins if isinstance(origins, Pieces) else tuple(dict.fromkeys(origins))
    return Resource(type_url, name, version(body), (body,), made_by, tuple(sorted(set(references))))


def version(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def keyed(resources: Iterable[Resource]) -> Resources:
    """Sorts resources into types. Raises ValueError when two have the same type and name."""
    by_type: dict[str, dict[str, Resource]] = {type_url: {} for type_url in TYPES.values()}
    for resource in sorted(resources, key=lambda r: (r.type_url, r.name)):
        if resource.name in by_type[resource.type_url]:
            raise ValueError(f"two resources of type {resource.type_url} are named {resource.name!r}")
        by_type[resource.type_url][resource.name] = resource
    return Resources({type_url: fixed(rows) for type_url, rows in by_type.items()})
