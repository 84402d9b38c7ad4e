"""Random conversations with a client that behaves as Envoy does, against what must hold whatever happens.

The client applies a response when it acknowledges it, refuses one that has anything bad in it, subscribes to the
assignments of the clusters and the routes of the listeners that it has, and reconnects with what it knows.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.protocol.client import CDS, EDS, LDS, RDS, DeltaClient, Got, GroupWorld, SotwClient, resource
from xds_server.envoy.resource import Resource
from xds_server.xds.states import State

CLUSTERS = ("a", "b", "c", "d")
CONTENTS = st.sampled_from(["1", "2", "bad1", "bad2"])
GOOD = st.sampled_from(["1", "2", "3"])


@st.composite
def worlds(draw: st.DrawFn, contents: st.SearchStrategy[str] = CONTENTS) -> list[Resource]:
    """Clusters with assignments, and perhaps a listener with a route to one or two of the clusters."""
    names = draw(st.sets(st.sampled_from(CLUSTERS), min_size=1))
    made: list[Resource] = []
    for name in sorted(names):
        made.append(resource(CDS, name, draw(contents), [(EDS, name)]))
        made.append(resource(EDS, name, draw(contents)))
    if draw(st.booleans()):
        to = draw(st.lists(st.sampled_from(sorted(names)), min_size=1, max_size=2, unique=True))
        made.append(resource(LDS, "l", draw(contents), [(RDS, "r")]))
        made.append(resource(RDS, "r", draw(contents) + ">" + "+".join(to), [(CDS, name) for name in to]))
    return made


class Conversation(RuleBasedStateMachine):
    variant: ClassVar[str]

    @initialize(resources=worlds(GOOD) | worlds())
    def start(self, resources: list[Resource]) -> None:
        self.world = GroupWorld(*resources)
        self.has: dict[str, dict[str, str]] = {t: {} for t in (CDS, EDS, LDS, RDS)}
        self.versions: dict[str, str] = {}
        self.asked: dict[str, set[str]] = {}
        self.nonces: set[str] = set()
        self.clean = not any(b"bad" in r.body for r in resources)  # a route may lead to a cluster that was refused
        self.late = False  # whether a bounded wait may have ended, after which order is not promised
        self.connect()

    def connect(self) -> None:
        self.world.clients.clear()
        self.client: Any = getattr(self.world, self.variant)()
        self.pending: list[Got] = []
        self.nonces.clear()
        self.asked = {}
        for type_url in (CDS, EDS, LDS, RDS):
            self.subscribe(type_url)

    def names(self, type_url: str) -> set[str]:
        """What the client wants of a type by name."""
        if type_url == EDS:
            return set(self.has[CDS])
        return {"r"} if self.has[LDS] and type_url == RDS else set()

    def subscribe(self, type_url: str, got: Got | None = None) -> None:
        """Tells the server the names, as the variant does; with a response, as its acknowledgement."""
        names = self.names(type_url)
        nonce = got.nonce if got else ""
        before = self.asked.get(type_url)
        first = before is None
        if first and type_url in (EDS, RDS) and not names:
            return  # Envoy does not ask for nothing
        self.asked[type_url] = names
        if isinstance(self.client, SotwClient):
            version = self.versions.get(type_url, "")
            verdict = self.client.ask(type_url, sorted(names), version, nonce or self.last_nonce(type_url))
        else:
            versions = {n: f"{n}-{c}" for n, c in self.has[type_url].items()} if first else {}
            added, gone = names - (before or set()), (before or set()) - names
            verdict = self.client.ask(type_url, sorted(added), sorted(gone), nonce, versions)
        self.world.group.judge("node", verdict)
        self.settle()

    def last_nonce(self, type_url: str) -> str:
        return self.nonce_of.get(type_url, "") if self.asked.get(type_url) is not None and self.nonces else ""

    @property
    def nonce_of(self) -> dict[str, str]:
        return self.__dict__.setdefault("_nonce_of", {})

    def settle(self) -> None:
        self.world.settle()
        deadline = self.client.session.deadline
        assert deadline is None or deadline > self.client.now, "the session asks to be woken in the past"
        for got in self.client.take():
            assert got.nonce not in self.nonces, "a nonce was used twice"
            assert not set(got.names) & {*got.removed, *got.missing}, "a name is both there and gone"
            self.nonces.add(got.nonce)
            self.pending.append(got)

    @rule(resources=worlds() | worlds(GOOD))
    def publish(self, resources: list[Resource]) -> None:
        self.clean &= not any(b"bad" in r.body for r in resources)
        self.world.offer(*resources)
        self.settle()

    @precondition(lambda self: self.pending)
    @rule()
    def answer(self) -> None:
        """The client takes its oldest response."""
        got = self.pending.pop(0)
        self.nonce_of[got.type_url] = got.nonce
        if any(content.startswith("bad") for content in got.contents.values()):
            if isinstance(self.client, SotwClient):
                names, version = sorted(self.names(got.type_url)), self.versions.get(got.type_url, "")
                verdict = self.client.nack(got, names, version)
            else:
                verdict = self.client.nack(got)
            self.world.group.judge("node", verdict)
            self.settle()
            return
        self.apply(got)
        self.versions[got.type_url] = got.version
        if isinstance(self.client, DeltaClient):
            self.world.group.judge("node", self.client.ack(got))
            self.settle()
        else:
            self.subscribe(got.type_url, got)
        for type_url in (EDS, RDS):
            if self.names(type_url) != self.asked.get(type_url, set()):
                self.subscribe(type_url)

    def apply(self, got: Got) -> None:
        has = self.has[got.type_url]
        before = set(has)
        if isinstance(self.client, SotwClient) and got.type_url in (CDS, LDS):
            has.clear()
        wanted = self.names(got.type_url) if got.type_url in (EDS, RDS) else set(got.contents)
        has.update({name: content for name, content in got.contents.items() if name in wanted})
        for name in got.removed:
            if got.type_url in (CDS, LDS):  # Envoy ignores the removal of others
                has.pop(name, None)
        if got.type_url == CDS:
            for name in set(self.has[EDS]) - set(has):
                del self.has[EDS][name]
            if self.has[RDS] and self.has[LDS] and not self.late:
                used = set(self.has[RDS]["r"].partition(">")[2].split("+"))
                assert not used & (before - set(has)), "a cluster was removed while a route leads to it"
        if got.type_url == LDS and not has:
            self.has[RDS].clear()

    @rule(seconds=st.sampled_from([0.1, 4.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.late |= seconds > 1
        self.client.wait(seconds)
        self.settle()

    @rule()
    def reconnect(self) -> None:
        # In SotW a server that does not remember what it offered before cannot offer it again.
        self.late |= self.variant == "sotw"
        self.nonce_of.clear()
        self.connect()

    @invariant()
    def routes_lead_somewhere(self) -> None:
        if self.has_started() and not self.late and self.clean and self.has[RDS] and self.has[LDS]:
            used = self.has[RDS]["r"].partition(">")[2].split("+")
            assert set(used) <= set(self.has[CDS]), "a route leads to a cluster that the client does not have"

    def has_started(self) -> bool:
        return "has" in self.__dict__

    def teardown(self) -> None:
        """In the end, with everything mended, the client has exactly what is published."""
        if not self.has_started():
            return
        self.finish()
        for has in self.has.values():
            assert not any(content.startswith("bad") for content in has.values())
        final = [
            resource(r.type_url, r.name, r.body.decode().partition("=")[2].replace("bad", "good"), r.references)
            for rows in self.world.resources.by_type.values()
            for r in rows.values()
        ]
        self.world.offer(*final)
        self.settle()
        self.finish()
        published = self.world.resources.by_type
        expected = {
            t: {name: r.body.decode().partition("=")[2] for name, r in published[t].items()} for t in (CDS, EDS, LDS)
        }
        assert {t: self.has[t] for t in expected} == expected
        if self.has[LDS]:
            assert set(self.has[RDS]) == {"r"}
        assert not self.world.group.refusals
        assert {s.state for s in self.client.session.status()} <= {State.SYNCED, State.NOT_SENT}

    def finish(self) -> None:
        for _ in range(6):
            for _ in range(200):
                if not self.pending:
                    break
                self.answer()
            assert not self.pending, "the conversation never ends"
            self.client.wait(10)
            self.settle()


class SotwConversation(Conversation):
    variant = "sotw"


class DeltaConversation(Conversation):
    variant = "delta"


# In CI always the same conversations; XDS_SERVER_LONG=1 searches further.
FULL = bool(os.environ.get("XDS_SERVER_LONG"))
LIMITS = settings(
    max_examples=5000 if FULL else 200,
    stateful_step_count=50 if FULL else 30,
    derandomize=not FULL,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.timeout(3600 if FULL else 120)
TestSotw = SotwConversation.TestCase
TestSotw.settings = LIMITS
TestDelta = DeltaConversation.TestCase
TestDelta.settings = LIMITS
