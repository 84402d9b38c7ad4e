"""Make before break: in which order, and after which answers, a change reaches a client.

Specification: xDS protocol, "Eventual consistency considerations". A change goes out in phases; each phase waits
until the client has answered what was sent of the types before it, but never longer than its bound, because a client
that does not answer must not keep its neighbours' traffic on old configuration.
"""

from __future__ import annotations

import enum

import msgspec

from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET


class Offer(enum.Enum):
    """What a phase offers of a type: with what is to go away still in it, or without."""

    BOTH = "old and new"
    NEW = "new only"


class Line(msgspec.Struct, frozen=True):
    type_url: str
    offer: Offer
    why: str


class Phase(msgspec.Struct, frozen=True):
    """lines: what it offers, in the order of sending. after: the types whose answers it waits for.
    released: the types of which a client that names what is to go takes the name back first.
    bound: how long it waits at most for the answers, and for the names, in seconds."""

    lines: tuple[Line, ...]
    after: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    bound: float = 0.0


PHASES = (
    Phase(
        (
            Line(SECRET, Offer.BOTH, "clusters and listeners warm until their certificates are there"),
            Line(CLUSTER, Offer.BOTH, "a route may only name clusters that exist; old routes still name old clusters"),
            Line(ENDPOINT, Offer.BOTH, "a cluster warms until its endpoints have come, right behind it"),
        )
    ),
    Phase(
        (
            Line(LISTENER, Offer.NEW, "a listener that takes over an address comes with its predecessor's removal"),
            Line(ROUTE, Offer.BOTH, "new listeners wait for their routes; old listeners drain with theirs"),
        ),
        after=(SECRET, CLUSTER, ENDPOINT),
        bound=5.0,
    ),
    Phase(
        (
            Line(CLUSTER, Offer.NEW, "no route names the old clusters any more"),
            Line(ENDPOINT, Offer.NEW, "the clusters of these assignments are gone"),
            Line(ROUTE, Offer.NEW, "the listeners of these routes are gone"),
            Line(SECRET, Offer.NEW, "nothing names these secrets any more"),
        ),
        after=(LISTENER, ROUTE),
        # A gRPC client asks for new clusters once it has the routes, and calls the old ones until those are warm.
        released=(CLUSTER,),
        bound=5.0,
    ),
)

SENDING = tuple(dict.fromkeys(line.type_url for phase in PHASES for line in phase.lines))
"""Every type, in the order in which what is due is sent."""

REACHED = tuple(
    tuple(dict.fromkeys(line.type_url for phase in PHASES[: number + 1] for line in phase.lines))
    for number in range(len(PHASES))
)
"""For each phase, the types of which what is due is sent by then."""

UNTOLD_REMOVALS = frozenset({SECRET})
"""Types whose removal is never told: Envoy refuses it ("Missing SDS resources", envoy#32832)."""
