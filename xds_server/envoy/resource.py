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

    body: the deterministic serialisation of the message (`Any.value`).
    version: the hash of `body`, or of the hashes of its parts; the same in every process and on every replica.
    origins: what made it, most important first.
    references: the resources that it names, as (type URL, name): an EDS cluster its load assignment, a
        listener its route configurations and secrets, a route configuration its clusters.
    """

    type_url: str
    name: str
    version: str
    body: bytes
    origins: Sequence[Origin] = ()
    references: Sequence[tuple[str, str]] = ()


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
    return sealed_bytes(type_url, name, message.SerializeToString(deterministic=True), origins, references)


def sealed_bytes(
    type_url: str,
    name: str,
    body: bytes,
    origins: Iterable[Origin] = (),
    references: Iterable[tuple[str, str]] = (),
    hashed: bytes = b"",
) -> Resource:
    """A resource that is serialised already, in the order of its fields' numbers. hashed: what its version is the hash
    of, if that is not all of it. Origins and references that are many stay as they are."""
    version = blake2b(hashed or body, digest_size=8).hexdigest()
    made_by = origins if isinstance(origins, Pieces) else tuple(dict.fromkeys(origins))
    names = references if isinstance(references, Pieces) else tuple(sorted(set(references)))
    return Resource(type_url, name, version, body, made_by, names)


def keyed(resources: Iterable[Resource]) -> Resources:
    """Sorts resources into types. Raises ValueError when two have the same type and name."""
    by_type: dict[str, dict[str, Resource]] = {type_url: {} for type_url in TYPES.values()}
    for resource in sorted(resources, key=lambda r: (r.type_url, r.name)):
        if resource.name in by_type[resource.type_url]:
            raise ValueError(f"two resources of type {resource.type_url} are named {resource.name!r}")
        by_type[resource.type_url][resource.name] = resource
    return Resources({type_url: fixed(rows) for type_url, rows in by_type.items()})
