"""Random changes and delays with a gRPC client, which names what it wants: what its calls use is never taken away.

It asks for clusters once it has the routes that lead to them, uses the old ones until all of the new ones and their
endpoints are there, and only then takes the old names back (XdsDependencyManager and xds_resolver of grpc-core).
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.client import CDS, EDS, LDS, RDS, Got, World
from tests.protocol.test_order import system

some = st.frozensets(st.sampled_from("abc"), min_size=1)
actions = st.lists(st.tuples(some, some) | st.integers(1, 4), max_size=30)
"""What is published, the clusters of the routes and others; or how many responses the client reads."""


class Channel:
    """using: the clusters to which calls go; wanted: those of the newest routes.
    awaited: how many responses of a type were read or under way when a name was asked for, which say nothing of it."""

    def __init__(self, world: World) -> None:
        self.client = world.sotw()
        self.using: frozenset[str] = frozenset()
        self.wanted: frozenset[str] = frozenset()
        self.has: dict[str, set[str]] = {CDS: set(), EDS: set()}
        self.awaited: dict[tuple[str, str], int] = {}
        self.read_of: Counter[str] = Counter()
        self.asked: dict[str, list[str]] = {}
        self.nonces: dict[str, str] = {}
        self.ask(LDS, ["l"])
        self.ask(RDS, ["r"])

    def ask(self, type_url: str, names: list[str]) -> None:
        before = self.asked.get(type_url, [])
        if before != names:
            self.asked[type_url] = names
            under_way = sum(got.type_url == type_url for got in self.client.inbox)
            for name in set(names) - set(before):
                self.awaited[type_url, name] = self.read_of[type_url] + under_way
            self.client.ask(type_url, names, nonce=self.nonces.get(type_url, ""))

    def read(self) -> None:
        """Takes one response."""
        got = self.client.inbox.pop(0)
        self.nonces[got.type_url] = got.nonce
        self.read_of[got.type_url] += 1
        if got.type_url in self.has:
            self.take(got)
        elif got.type_url == RDS:
            self.wanted = frozenset(got.contents["r"].split("+"))
        self.client.ack(got, self.asked[got.type_url])
        self.ask_for(self.using | self.wanted)
        if all(self.wanted <= names for names in self.has.values()):
            self.using = self.wanted
            self.ask_for(self.using)

    def take(self, got: Got) -> None:
        type_url = got.type_url
        told = {name for name in got.names if self.awaited.get((type_url, name), 0) < self.read_of[type_url]}
        self.has[type_url] = told if type_url == CDS else self.has[EDS] | told
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
