"""One stream's state machine. It knows no network and no clock: time is an argument, responses are return values.

`receive`, `publish` and `next` are all there is: requests and new configuration only change the state, and `next`
says what should be sent now. So a stream that cannot write simply does not ask, and gets the newest state when it
asks again; there is never a queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from xds_server.envoy.resource import CLUSTER, ENDPOINT, ROUTE, Resource
from xds_server.xds.order import PHASES, REACHED, SENDING, Phase
from xds_server.xds.plan import has_all, plan, restated
from xds_server.xds.request import Meaning, ProtocolError, Request, classify
from xds_server.xds.shared import Shared
from xds_server.xds.states import ResourceStatus, TypeStatus, resource_status, type_status
from xds_server.xds.substitute import Accepted, Published, spared, stripped, stuck, substitute
from xds_server.xds.table import (
    EMPTY_HELD,
    EMPTY_TABLES,
    NOTHING,
    Change,
    Table,
    changed,
    leaving,
    offered,
    resumed,
    version_info,
    wanted,
    without,
)
from xds_server.xds.variant import Variant
from xds_server.xds.watch import PATIENCE, Sent, Watch

_LAST = len(PHASES) - 1
_NONE: frozenset[Resource] = frozenset()
_NO_NAMES: frozenset[str] = frozenset()


class Response(NamedTuple):
    type_url: str
    nonce: str
    change: Change
    data: bytes


class Verdict(NamedTuple):
    """What a request told about a response.

    culprits: the resources that the client certainly refuses. Empty after a refusal while the search goes on, and
    when nothing in the response can be blamed.
    waited: seconds since the response was taken from `next`.
    """

    meaning: Meaning
    type_url: str
    change: Change = NOTHING
    culprits: tuple[Resource, ...] = ()
    message: str = ""
    searching: bool = False
    waited: float = 0.0


class Session:
    """variant: `sotw.SOTW` or `delta.DELTA`. identifier: `control_plane.identifier`.
    only: the type URL of a service of one type; "" for ADS.

    quiet: `next` was asked, and what happened since gives it nothing to say."""

    def __init__(self, variant: Variant, shared: Shared, identifier: str, published: Published, only: str = "") -> None:
        self._variant = variant
        self._shared = shared
        self._identifier = identifier
        self._only = only
        self._published = published
        self._target = published.tables
        self._watches: dict[str, Watch] = {}
        self._views = EMPTY_TABLES
        self._phase = _LAST
        self._refused = _NONE
        self._exempt = _NONE
        self._mask: tuple[frozenset[Resource], Accepted] | None = None  # what old views must not show, and what instead
        self._resuming = False
        self._serial = 0
        self._gate: float | None = None
        self._named_since: dict[str, float] = {}  # clusters that are to go, and since when
        self.quiet = False

    @property
    def deadline(self) -> float | None:
        """When `next` has to be called although nothing else happens, in seconds; None if never."""
        if not self._mask:
            return self._gate  # nothing is withheld, so nothing is on trial
        trials = [self._watches[t].trial_deadline() for t in REACHED[self._phase] if t in self._watches]
        return min((at for at in (self._gate, *trials) if at is not None), default=None)

    # What happens

    def receive(self, raw: bytes, now: float) -> Verdict:
        """Reads one request. Raises ProtocolError when the stream has to end. now: seconds, of any steady clock."""
        quiet, self.quiet = self.quiet, False
        request = self._shared.request(self._variant.read, raw)
        type_url = request.type_url or self._only
        if not type_url or (self._only and type_url != self._only):
            raise ProtocolError(f"type_url is {request.type_url!r}, not {self._only or 'that of a resource'}")
        if type_url not in self._target.by_type:
            return Verdict(Meaning.SUBSCRIBE, type_url)  # not served; the other types of the stream go on
        if not self._watches:
            self._begin(request)
        request = msgspec.structs.replace(request, type_url=type_url) if not request.type_url else request
        first = type_url not in self._watches
        watch = self._watches.setdefault(type_url, Watch())
        verdict = self._judge(watch, request, now)
        self._variant.subscribe(watch, request, self._shared)
        if first and self._mask:
            self._retarget()  # what the client has counts when something is withheld from it
        if watch.insisted:
            self._insist(type_url, watch.insisted)
        elif verdict.meaning is Meaning.ACK and not self._mask and not watch.due:
            self.quiet = quiet and self._phase == _LAST
        return verdict

    def publish(self, published: Published) -> None:
        """Takes the newest configuration in place of what came before."""
        if published is self._published:
            return
        self._published = published
        self.quiet = False
        if self._refused:
            self._forget_refusals()
        if self._exempt:
            self._exempt &= published.refused
        self._retarget()

    def next(self, now: float) -> Response | None:
        """The next response to write, or None: nothing to say until the next request, configuration or deadline."""
        while True:
            for type_url in SENDING:
                watch = self._watches.get(type_url)
                if watch is not None and watch.due:
                    response = self._respond(type_url, watch, now)
                    if response:
                        return response
            if not (self._advance(now) or self._try_next(now)):
                self.quiet = True
                return None

    def status(self) -> tuple[TypeStatus, ...]:
        """What every served type is doing, in the order of sending."""
        return tuple(self._status(type_url) for type_url in SENDING)

    def resources(self) -> Iterator[ResourceStatus]:
        """Every resource that the client should have in the end, also those withheld from it."""
        withheld = self._withheld()
        for type_url in SENDING:
            watch = self._watches.get(type_url)
            if watch is None or not watch.wants:
                continue
            for resource in wanted(self._published.tables.by_type[type_url], watch.wants).rows.values():
                if resource is not None:
                    yield resource_status(watch, resource, resource in withheld)

    def settled(self) -> bool:
        """Whether the client has accepted all that is published, as far as it asked for it."""
        for watch in self._watches.values():
            if watch.in_flight or watch.due:
                return False
        return self._phase == _LAST

    def _status(self, type_url: str) -> TypeStatus:
        rows = self._published.tables.by_type[type_url].rows
        withheld = self._refused | self._published.refused
        refused = tuple(sorted(r.name for r in withheld if r.type_url == type_url and rows.get(r.name) is r))
        return type_status(type_url, self._watches.get(type_url), refused)

    # Configuration and phases

    def _begin(self, request: Request) -> None:
        """A client that comes back with configuration gets it in phases; one that has none gets all at once."""
        if request.version or request.versions:
            self._resuming = True
            self._views = self._shared(resumed, self._published.before)
            self._retarget(force=True)
        else:
            self._retarget()
            self._views = self._target

    def _retarget(self, force: bool = False) -> None:
        """Sets out for what is to be offered in the end: everything published, but what is withheld."""
        withheld = self._withheld()
        target = self._published.tables
        if withheld or self._mask:
            own = tuple((type_url, watch.accepted) for type_url, watch in sorted(self._watches.items()))
            accepted = own + self._published.accepted
            out = withheld | self._shared(stuck, target, withheld, accepted)
            target = self._shared(substitute, target, withheld, accepted) if withheld else target
            self._mask = (out, accepted) if withheld else None
            for watch in self._watches.values():
                watch.due = True
        if target is not self._target or force:
            self._target = target
            changes = self._offered(0)
            if force or changes:
                self._phase = 0
            elif self._phase:
                self._phase = 1
                changes = self._offered(1)
            self._show(changes)
            if not self._changes(1) and not self._changes(_LAST):
                self._settle()

    def _insist(self, type_url: str, names: frozenset[str]) -> None:
        """A name that is subscribed again must be sent again, even if it was refused before."""
        again = frozenset(r for r in self._withheld() if r.type_url == type_url and r.name in names)
        if again:
            self._refused -= again
            self._exempt |= again
            self._retarget()

    def _forget_refusals(self) -> None:
        """A refusal is of interest as long as the resource is published; it counts while old views still have it."""
        shown = (self._published.tables.by_type, self._views.by_type)
        self._refused = frozenset(
            r for r in self._refused if any(t[r.type_url].rows.get(r.name) is r for t in shown if r.type_url in t)
        )

    def _withheld(self) -> frozenset[Resource]:
        withheld = self._refused
        if self._published.refused:
            withheld = withheld | (self._published.refused - self._exempt)
        for watch in self._watches.values():
            for group in watch.trials:
                withheld = withheld | frozenset(group)
        return withheld

    def _show(self, changes: tuple[tuple[str, Table], ...]) -> None:
        if changes:
            self._views = self._shared(changed, self._views, changes, self._target)
        for type_url, _ in changes:
            if type_url in self._watches:
                self._watches[type_url].due = True

    def _offered(self, phase: int) -> tuple[tuple[str, Table], ...]:
        if self._views is self._target:
            return ()
        return self._shared(offered, self._shared, self._views, self._target, phase)

    def _advance(self, now: float) -> bool:
        """Enters the next phase if its time has come. False when there is none, or it must wait."""
        if self._phase == _LAST:
            return False
        phase = PHASES[self._phase + 1]
        if self._changes(self._phase + 1):
            if self._answered(phase, now):
                self._gate = self._named_until(phase, now)
            elif self._gate is None:
                self._gate = now + phase.bound
            if self._gate is not None and now < self._gate:
                return False
        self._gate = None
        self._phase += 1
        self._show(self._offered(self._phase))
        if self._phase == _LAST:
            self._settle()
        return True

    def _settle(self) -> None:
        """All is offered as it is to be; from now on removals are told."""
        self._phase = _LAST
        self._gate = None
        self._named_since = {}
        self._resuming = False
        for watch in self._watches.values():
            watch.due |= watch.owes_removals

    def _changes(self, phase: int) -> bool:
        if self._resuming or self._offered(phase):
            return True
        return phase == _LAST and any(watch.owes_removals for watch in self._watches.values())

    def _answered(self, phase: Phase, now: float) -> bool:
        """Whether the client answered what was sent of the types that the phase waits for, as far as it will."""
        watches = [self._watches.get(type_url) for type_url in phase.after]
        if self._resuming and ROUTE in phase.after and None in watches:
            return False  # a client that resumes asks for its listeners and routes soon
        return not any(watch.trials or watch.waits(now - phase.bound) for watch in watches if watch)

    def _named_until(self, phase: Phase, now: float) -> float | None:
        """Until when the client, which takes names back once it needs them no more, may keep what is to go."""
        found: set[str] = set()
        for type_url in phase.released:
            watch, view = self._watches.get(type_url), self._views.by_type.get(type_url)
            if watch and view:
                found |= watch.keeps(self._shared(leaving, view, self._target.by_type[type_url]))
        if not found:
            return None
        # From when each was to go: changes of other things, which come here anew, do not prolong it.
        self._named_since = {name: self._named_since.get(name, now) for name in found}
        return max(self._named_since.values()) + phase.bound

    def _try_next(self, now: float) -> bool:
        """Lets the next suspects out, of a type whose view follows the target by now. False if there are none."""
        if not self._mask:
            return False
        for type_url in reversed(REACHED[self._phase]):  # a trial of clusters makes listeners and routes wait again
            watch = self._watches.get(type_url)
            if watch and watch.next_trial(now):
                self._retarget()
                return True
        return False

    # Requests and responses

    def _judge(self, watch: Watch, request: Request, now: float) -> Verdict:
        """Learns what the request says of an earlier response."""
        type_url, nonce, message = request.type_url, request.nonce, request.error or ""
        meaning = classify(request, watch.in_flight, watch.last_nonce)
        if meaning is Meaning.ACK:
            withheld = self._withheld() if self._mask else _NONE
            sent = watch.accept(nonce, self._shared, now)
            if withheld and not withheld.isdisjoint(sent.change.resources):
                self._refused = self._refused.difference(sent.change.resources)
                self._retarget()
            return Verdict(meaning, type_url, sent.change, waited=now - sent.at)
        if meaning is Meaning.NACK:
            sent = watch.in_flight[nonce]
            culprits = watch.refuse(nonce, message, self._withheld(), self._shared, now)
            blamed = culprits or ()
            self._refused = self._refused.union(blamed)
            self._exempt = self._exempt.difference(blamed)
            self._retarget()
            return Verdict(meaning, type_url, sent.change, blamed, message, culprits is None, now - sent.at)
        return Verdict(meaning, type_url)

    def _respond(self, type_url: str, watch: Watch, now: float) -> Response | None:
        """What this type has to say, registered as sent; None if nothing."""
        view = self._views.by_type.get(type_url)
        if view is None or not watch.wants:
            watch.due = False
            return None
        shared = self._shared
        spares = self._spared(type_url, view)
        if self._mask:
            view = shared(stripped, view, type_url, *self._mask)
        if not watch.answered and watch.resumed_version and watch.resumed_version == shared(version_info, view):
            watch.held = watch.accepted = shared(has_all, shared, view, watch.wants)
            watch.answered = True
        rule = self._variant.rule(type_url, self._phase == _LAST)
        if rule.full and watch.trials and watch.waits(now - PATIENCE):
            return None  # what is in flight may clear suspects, whom this response would take away
        # What was accepted is no argument where it does not matter, so that streams whose answers differ share a plan.
        accepted = watch.accepted if rule.absences and not rule.removals else EMPTY_HELD
        todo = shared(plan, shared, view, watch.wants, watch.held, accepted, spares, rule)
        watch.owes_removals = todo.owes_removals
        change = todo.change
        if change is None:
            watch.due = False
            outdated = rule.full and watch.unknown and not watch.in_flight and not spares
            if (watch.answered and not outdated) or not watch.wants.wildcard:
                return None
            # The first wildcard request is always answered, or the client waits for its time-out; and one that has
            # something of an earlier stream must hear that it is gone.
            change = shared(restated, shared, view, watch.wants) if rule.full else NOTHING
            watch.unknown = False
        self._serial, data = shared.response(
            self._serial, self._variant.assemble, self._identifier, type_url, todo.version, change
        )
        nonce = str(self._serial)
        watch.sent(nonce, Sent(change, todo.held, todo.version, now))
        if type_url == CLUSTER:
            self._follow_with_endpoints(change)
        return Response(type_url, nonce, change, data)

    def _spared(self, type_url: str, view: Table) -> frozenset[str]:
        """Names that a client keeps if it has them."""
        if not self._mask:
            return _NO_NAMES
        held = self._watches[type_url].held
        return self._shared(
            spared, type_url, held, view, self._published.tables, self._target, self._withheld(), self._mask[1]
        )

    def _follow_with_endpoints(self, change: Change) -> None:
        """Envoy warms a changed cluster until its endpoints come again, though they did not change, and does not
        acknowledge the cluster before (envoy#13009)."""
        watch = self._watches.get(ENDPOINT)
        if watch is None or not watch.held.rows:
            return
        names = tuple(name for resource in change.changed for kind, name in resource.references if kind == ENDPOINT)
        if any(name in watch.held.rows for name in names):
            watch.held = self._shared(without, watch.held, names)
            watch.due = True
