"""A synthetic Envoy: what it asks for and answers, without the network.

It follows the order of a real one: clusters, the endpoints (and secrets) that they name, and once it has these the
listeners, then the routes (and secrets) that those name. Every response is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, TYPES
from xds_server.loadtest.responses import Reader
from xds_server.loadtest.variants import NONE, WILDCARD, Held, Names, Response, Variant, names_of

NAMED = (ENDPOINT, ROUTE, SECRET)
INITIAL_FETCH_TIMEOUT = 15.0
"""Seconds after which an Envoy goes on without what it asked for (`initial_fetch_timeout`)."""

SHORT = {type_url: short.upper() for short, type_url in TYPES.items()}
EVERYTHING = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET)


class Step(msgspec.Struct, frozen=True, eq=False):
    """What all streams share that are equally far. held: type URL -> what they have; wanted: type URL -> what that
    names."""

    held: Mapping[str, Held] = {}
    wanted: Mapping[str, Names] = {}

    def missing(self, types: Iterable[str]) -> list[str]:
        """What was not answered yet of the types, as `EDS web`, or `LDS` where all of a type is asked for."""
        words = []
        for type_url in types:
            held = self.held.get(type_url)
            if type_url in WILDCARD:
                words += [SHORT[type_url]] if held is None else []
            else:
                names = self.wanted.get(type_url, NONE).names
                words += [f"{SHORT[type_url]} {name}" for name in names if name not in (held or ())]
        return words


START = Step()


class Shared:
    """What the Envoys of a test share: each response is read once, and each step from one state to the next is made
    once, however many streams take it."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.read = Reader(variant).read
        self.after = lru_cache(maxsize=256)(self._after)
        self.lacks = lru_cache(maxsize=256)(_lacks)

    def _after(self, step: Step, response: Response) -> Step:
        type_url = response.type_url
        before = step.held.get(type_url)
        after = self.variant.after({} if before is None else before, response)
        if after is before:
            return step
        held = {**step.held, type_url: after}
        return Step(held, _wanted(held, step.wanted) if type_url in WILDCARD else step.wanted)


def _lacks(step: Step, types: Iterable[str]) -> bool:
    return bool(step.missing(types))


def _wanted(held: Mapping[str, Held], before: Mapping[str, Names]) -> Mapping[str, Names]:
    found: dict[str, set[str]] = {type_url: set() for type_url in NAMED}
    for type_url in WILDCARD:
        for wants in held.get(type_url, {}).values():
            for wanted_type, name in wants:
                found[wanted_type].add(name)
    after = {}
    for type_url, names in found.items():
        same = before.get(type_url, NONE)
        after[type_url] = same if set(same.names) == names else names_of(tuple(sorted(names)))
    return after


class Envoy:
    """first: the first request of a stream. It accepts every response."""

    __slots__ = ("_asked", "_first", "_last", "_shared", "configured", "step")

    def __init__(self, shared: Shared, first: bytes) -> None:
        self._shared = shared
        self._first = first
        self.configured = False
        self.start()

    def start(self) -> bytes:
        """The first request on a new stream, on which it asks for all again, as after a restart."""
        self.step = START
        self._asked = {CLUSTER: NONE}
        self._last: dict[str, tuple[str, str]] = {}  # type URL -> version and nonce of the last response
        return self._first

    def receive(self, raw: bytes) -> tuple[Response, list[bytes]]:
        """The response, and the requests that follow from it. Raises Unreadable."""
        shared = self._shared
        response, nonce = shared.read(raw)
        type_url = response.type_url
        self._last[type_url] = response.version, nonce
        requests: list[bytes] = []
        step = shared.after(self.step, response)
        if step is not self.step:
            before, self.step = self.step.wanted, step
            if step.wanted is not before:
                requests += self._ask_for_named()
            requests += self.go_on()
        # Envoy says what it wants next before it accepts.
        requests.append(shared.variant.acknowledge(response, self._asked.get(type_url, NONE), nonce))
        return response, requests

    def go_on(self, patient: bool = True) -> list[bytes]:
        """What is asked for when all before it is answered. patient: False when `INITIAL_FETCH_TIMEOUT` has passed."""
        lacks, step = self._shared.lacks, self.step
        if LISTENER in self._asked:
            self.configured = self.configured or not lacks(step, EVERYTHING)
            return []
        if CLUSTER not in step.held or (patient and lacks(step, (ENDPOINT, SECRET))):
            return []
        self._asked[LISTENER] = NONE
        return [self._shared.variant.subscribe(LISTENER, NONE, NONE, "", "")]

    def missing(self) -> list[str]:
        """What it waits for before it counts as configured."""
        return self.step.missing(EVERYTHING)

    def _ask_for_named(self) -> list[bytes]:
        requests = []
        for type_url, new in self.step.wanted.items():
            old = self._asked.get(type_url, NONE)
            if new is not old:
                version, nonce = self._last.get(type_url, ("", ""))
                requests.append(self._shared.variant.subscribe(type_url, old, new, version, nonce))
                self._asked[type_url] = new
        return requests


def first_request(variant: Variant, node: Any) -> bytes:
    """node: an `envoy.config.core.v3.Node`; an Envoy says it once."""
    return bytes(variant.request(node=node, type_url=CLUSTER).SerializeToString())
