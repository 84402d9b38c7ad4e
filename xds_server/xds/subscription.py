"""What a client has subscribed to, of one type on one stream.

Specification: xDS protocol, "How the client specifies what resources to return" and "Unsubscribing From Resources".
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from xds_server.envoy.resource import CLUSTER, LISTENER

WILDCARD = "*"
LEGACY_WILDCARD_TYPES = frozenset({CLUSTER, LISTENER})
"""Types of which a client that never named a resource gets all. The specification says so of every type, but Envoy
asks so only for these, and an empty first request for endpoints is no wish for all of them (envoy#7529)."""


class Subscription(msgspec.Struct, frozen=True):
    """wildcard: all resources; names: those asked for by name, which are told apart when they do not exist.

    legacy: the wildcard was never spelled out, so the first name of a SotW request replaces it.
    """

    wildcard: bool = False
    names: frozenset[str] = frozenset()
    legacy: bool = False

    def __bool__(self) -> bool:
        return self.wildcard or bool(self.names)


NOWHERE = Subscription()


def sotw(before: Subscription | None, type_url: str, names: frozenset[str]) -> Subscription:
    """After a SotW request, which says all names. before: None on the first request of the type on the stream."""
    if not names:
        legacy = type_url in LEGACY_WILDCARD_TYPES and (before is None or before.legacy)
        return Subscription(wildcard=legacy, legacy=legacy)
    return Subscription(wildcard=WILDCARD in names, names=names - {WILDCARD})


class Step(msgspec.Struct, frozen=True):
    """What a delta request changes.

    resend: names whose resources must be sent again although the client may have them.
    doubt: names that left the list while the wildcard still covers them, or does not: the client must be told.
    resend_all: the wildcard was asked for, so everything is sent again.
    """

    subscription: Subscription
    resend: frozenset[str] = frozenset()
    doubt: frozenset[str] = frozenset()
    resend_all: bool = False


def delta(before: Subscription | None, type_url: str, subscribe: Collection[str], unsubscribe: Collection[str]) -> Step:
    """After a delta request, which says what to add and then what to take away."""
    added, gone = frozenset(subscribe), frozenset(unsubscribe)
    if before is None:
        legacy = not added and type_url in LEGACY_WILDCARD_TYPES
        before = Subscription(wildcard=legacy, legacy=legacy)
    wildcard = (before.wildcard or WILDCARD in added) and WILDCARD not in gone
    known = before.names | (added - {WILDCARD})
    after = Subscription(wildcard, known - gone, before.legacy and WILDCARD not in gone)
    return Step(
        subscription=after,
        resend=(added - gone) - {WILDCARD},
        doubt=known & gone if wildcard else frozenset(),
        resend_all=WILDCARD in added and wildcard,
    )
