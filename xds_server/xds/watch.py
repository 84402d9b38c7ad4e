"""The state of one type on one stream."""

from __future__ import annotations

from typing import NamedTuple

from xds_server.envoy.resource import Resource
from xds_server.xds.isolate import split
from xds_server.xds.shared import Shared
from xds_server.xds.subscription import NOWHERE, Subscription
from xds_server.xds.table import ABSENT, EMPTY_HELD, Change, Held, merged, restricted, reverted, version_of

PATIENCE = 5.0  # seconds; Envoy holds back the answer to a cluster that cannot get its certificate for 15 s
_IN_FLIGHT = 256  # a client that reads but never answers is no reason to remember more


class Sent(NamedTuple):
    """A response that waits for its answer. held: what the client holds once it accepted it. at: seconds."""

    change: Change
    held: Held
    version: str
    at: float


class Watch:
    """subscription: None until the first request was read; wants: the same, or `NOWHERE`.
    held: what was sent; accepted: what the client acknowledged.
    due: something may have to be sent. owes_removals: the client has what it should not have, and must be told in the
        last phase. answered: at least one response was.
    trials: groups of resources that are withheld until their turn to be sent alone, see `xds.isolate`.
    error: why the last response was refused, "" if it was not; unexplained: though nothing in it can be blamed.
    since: when `error` or `version` came, in seconds.
    unknown: the client refused the first that was sent, so it still has what an earlier stream gave it, whatever
        that is.
    insisted: names that the last request subscribed to although they were subscribed already.
    version: of the last accepted response; sent_version: of the last one sent; resumed_version: what the client said
        that it has when the stream began.
    """

    __slots__ = (
        "accepted", "answered", "due", "error", "held", "in_flight", "insisted", "last_nonce", "owes_removals",
        "resumed_version", "sent_version", "since", "subscription", "trials", "unexplained", "unknown", "version",
        "wants",
    )  # fmt: skip

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self.wants = NOWHERE
        self.held = EMPTY_HELD
        self.accepted = EMPTY_HELD
        self.in_flight: dict[str, Sent] = {}
        self.last_nonce = ""
        self.due = True
        self.owes_removals = False
        self.answered = False
        self.trials: tuple[tuple[Resource, ...], ...] = ()
        self.error = ""
        self.unexplained = False
        self.since = 0.0
        self.version = ""
        self.sent_version = ""
        self.resumed_version = ""
        self.unknown = False
        self.insisted: frozenset[str] = frozenset()

    def subscribe(self, subscription: Subscription) -> None:
        self.subscription = self.wants = subscription
        self.due = True

    def sent(self, nonce: str, sent: Sent) -> None:
        """Registers a response before it is written, so that no answer can come too early."""
        self.held = sent.held
        self.in_flight[nonce] = sent
        self.last_nonce = nonce
        self.sent_version = sent.version
        self.answered = True
        self.due = not sent.change.complete
        if len(self.in_flight) > _IN_FLIGHT:
            del self.in_flight[next(iter(self.in_flight))]

    def accept(self, nonce: str, shared: Shared, now: float) -> Sent:
        """The client accepted a response."""
        sent = self.in_flight.pop(nonce)
        alone = self.held is sent.held and not self.in_flight  # otherwise something was refused or forgotten since
        self.accepted = sent.held if alone else shared(merged, self.accepted, sent.change)
        if not alone and not self.wants.wildcard:  # what was unsubscribed meanwhile is not kept by the client
            self.accepted = shared(restricted, self.accepted, self.wants.names)
        self.version = sent.version
        self.unknown = False
        self.since = now
        self.error = ""
        self.unexplained = False
        if self.trials:
            groups = (tuple(r for r in group if r not in sent.change.resources) for group in self.trials)
            self.trials = tuple(group for group in groups if group)
        return sent

    def refuse(
        self, nonce: str, message: str, withheld: frozenset[Resource], shared: Shared, now: float
    ) -> tuple[Resource, ...] | None:
        """The client refused a response. Returns the culprit; None if trials will find it; () if nothing in it
        can be blamed."""
        change = self.in_flight.pop(nonce).change
        self.error = message
        self.since = now
        suspects = tuple(resource for resource in change.resources if not self._accepted(resource))
        if not suspects:  # the same again would be refused again, so what is in it counts as told
            self.unexplained = True
            return ()
        others = tuple(sent.change for sent in self.in_flight.values())
        self.held = shared(reverted, self.held, self.accepted, others, change, tuple(r.name for r in suspects))
        if not self.wants.wildcard:  # what was unsubscribed meanwhile is sent again when it is asked for again
            self.held = shared(restricted, self.held, self.wants.names)
        self.due = True
        self.unknown = self.unknown or bool(self.resumed_version and not self.version)
        if any(resource in withheld for resource in suspects):
            return None  # sent before another refusal was known, which explains this one
        if len(suspects) > 1:
            self.trials = split(suspects, message) + self.trials
            return None
        self.unexplained = False
        return suspects

    def next_trial(self, now: float) -> bool:
        """Lets the next group out once nothing is in flight, or for so long that it tells nothing. False if not."""
        if not self.trials or self.waits(now - PATIENCE):
            return False
        self.trials = self.trials[1:]
        return True

    def trial_deadline(self) -> float | None:
        """When the next trial begins although an answer is missing; None if no trial waits."""
        newest = max((sent.at for sent in self.in_flight.values()), default=None)
        return newest + PATIENCE if self.trials and newest is not None else None

    def waits(self, since: float) -> bool:
        """Whether a response that was sent after `since`, in seconds, has no answer yet."""
        return any(sent.at > since for sent in self.in_flight.values())

    def keeps(self, gone: frozenset[str]) -> frozenset[str]:
        """What of it the client has and asks for by name."""
        if self.wants.wildcard:
            return frozenset()
        return frozenset(name for name in self.wants.names & gone if self.held.rows.get(name, ABSENT) != ABSENT)

    def forget_all(self) -> None:
        """After the last unsubscription: clients neither keep nor acknowledge what they did not ask for."""
        self.held = self.accepted = EMPTY_HELD
        self.in_flight.clear()
        self.trials = ()

    def _accepted(self, resource: Resource) -> bool:
        have = self.accepted.rows.get(resource.name)
        return have is not None and version_of(have) == resource.version
