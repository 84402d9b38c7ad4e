"""Random changes and delays with a gRPC client, which names what it wants: what its calls use is never taken away.

It asks for clusters once it has the routes that lead to them, uses the old ones until all of the new ones and their
endpoints are there, and only then takes the old names back (XdsDependencyManager and xds_resolver of grpc-core).
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.client import CDS, EDS, LDS, RDS, Got, World
from tests.protocol.test_order import system

some = st.frozensets(st.sampled_from("abc"), min_size=1)
actions = st.lists(st.tuples(some, some) | st.integers(1, 4), max_size=30)
"""What is published, the clusters of the routes and others; or how many responses the client reads."""


class Channel:
    """using: the clusters to which calls go; wanted: those of the newest routes. What was wanted in between is taken
    back together with what was used: a response that is under way would lack what is taken back and asked for again."""

    def __init__(self, world: World) -> None:
        self.client = world.sotw()
        self.using: frozenset[str] = frozenset()
        self.wanted: frozenset[str] = frozenset()
        self.has: dict[str, set[str]] = {CDS: set(), EDS: set()}
        self.asked: dict[str, list[str]] = {}
        self.nonces: dict[str, str] = {}
        self.ask(LDS, ["l"])
        self.ask(RDS, ["r"])

    def ask(self, type_url: str, names: list[str]) -> None:
        if self.asked.get(type_url) != names:
            self.asked[type_url] = names
            self.client.ask(type_url, names, nonce=self.nonces.get(type_url, ""))

    def read(self) -> None:
        """Takes one response."""
        got = self.client.inbox.pop(0)
        self.nonces[got.type_url] = got.nonce
        if got.type_url in self.has:
            self.take(got)
        elif got.type_url == RDS:
            self.wanted = frozenset(got.contents["r"].split("+"))
        self.client.ack(got, self.asked[got.type_url])
        self.ask_for(self.wanted.union(self.asked.get(CDS, ())))
        if all(self.wanted <= names for names in self.has.values()):
            self.using = self.wanted
            self.ask_for(self.using)

    def take(self, got: Got) -> None:
        if got.type_url == CDS:
            self.has[CDS] = set(got.names)
        else:
            self.has[EDS] |= set(got.names)
        assert self.using <= self.has[got.type_url]
        assert self.using.isdisjoint(got.missing)

    def ask_for(self, names: frozenset[str]) -> None:
        for type_url, has in self.has.items():
            has &= names
            self.ask(type_url, sorted(names))


@given(actions)
def test_what_calls_use_stays_until_something_else_is_there(actions: list[tuple[frozenset[str], ...] | int]) -> None:
    world = World(*system("a", clusters="a"))
    channel = Channel(world)
    routed = frozenset("a")
    for action in actions:
        if isinstance(action, int):
            for _ in range(min(action, len(channel.client.inbox))):
                channel.read()
        else:
            routed, others = action
            world.publish(*system(*sorted(routed), clusters=sorted(routed | others)))
    while channel.client.inbox:
        channel.read()
    assert channel.using == routed
    assert channel.client.session.settled()
    assert channel.client.session.deadline is None
