"""One bad resource never hurts another."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import pytest

from tests.protocol.client import CDS, EDS, LDS, RDS, SDS, Client, Got, GroupWorld, SotwClient, cluster, resource, route
from xds_server.diagnostics import ObjectRef
from xds_server.envoy.resource import Resource, Resources
from xds_server.mesh.origin import Origin
from xds_server.xds.group import words
from xds_server.xds.isolate import split
from xds_server.xds.request import Meaning
from xds_server.xds.states import State

TYPES = (CDS, EDS, LDS, RDS, SDS)
VARIANTS = pytest.mark.parametrize("variant", ["sotw", "delta"])


class Envoy:
    """A proxy that refuses each response with something bad in it, as a whole, and never says why."""

    def __init__(self, world: GroupWorld, variant: str, names_culprit: bool = False) -> None:
        self.world = world
        self.client: Client = getattr(world, variant)()
        self.names_culprit = names_culprit
        self.has: dict[str, dict[str, str]] = {t: {} for t in TYPES}
        self.responses = 0
        self.names = {t: list(world.resources.by_type[t]) for t in (EDS, RDS, SDS)}
        for type_url in TYPES:
            self.client.ask(type_url, self.names.get(type_url, []))  # type: ignore[attr-defined]
        self.answer()

    def answer(self) -> None:
        """Answers until all is quiet, passing on to the group what the session learned."""
        while got := self.client.take():
            for response in got:
                self._answer(response)
            self.world.settle()

    def _answer(self, got: Got) -> None:
        self.responses += 1
        bad = [name for name, content in got.contents.items() if content.startswith("bad")]
        names = self.names.get(got.type_url, [])
        if bad:
            error = f"cannot add {bad[0]}" if self.names_culprit else "no"
            verdict = (
                self.client.nack(got, names, error=error)  # type: ignore[attr-defined]
                if isinstance(self.client, SotwClient)
                else self.client.nack(got, error)  # type: ignore[attr-defined]
            )
        else:
            if isinstance(self.client, SotwClient) and got.type_url in (CDS, LDS):
                self.has[got.type_url] = {}
            self.has[got.type_url] |= got.contents
            for name in got.removed:
                self.has[got.type_url].pop(name, None)
            verdict = (
                self.client.ack(got, names)  # type: ignore[attr-defined]
                if isinstance(self.client, SotwClient)
                else self.client.ack(got)  # type: ignore[attr-defined]
            )
        self.world.group.judge("node-1", verdict)


def hundred(bad: Iterable[int]) -> list[Resource]:
    """A hundred resources of five types."""
    bad = set(bad)
    return [resource(TYPES[i % 5], f"r{i:02}", f"bad-{i}" if i in bad else "1") for i in range(100)]


def good(resources: Iterable[Resource]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {t: set() for t in TYPES}
    for r in resources:
        if b"=bad" not in r.body:
            found[r.type_url].add(r.name)
    return found


@VARIANTS
@pytest.mark.parametrize("names_culprit", [False, True], ids=["silent about the culprit", "naming a culprit"])
@pytest.mark.parametrize("seed", range(3))
def test_5_cds_5_lds_of_a_hundred_resources_with_seven_bad_ones_every_good_one_arrives(
    variant: str, names_culprit: bool, seed: int
) -> None:
    bad = random.Random(seed).sample(range(100), 7)
    resources = hundred(bad)
    world = GroupWorld(*resources)
    envoy = Envoy(world, variant, names_culprit)
    assert {t: set(has) for t, has in envoy.has.items()} == good(resources)
    assert {r.name for r in world.group.refusals} == {f"r{i:02}" for i in bad}
    assert envoy.responses < 80


@VARIANTS
def test_a_bad_update_leaves_the_last_good_version_and_recovers_when_it_is_mended(variant: str) -> None:
    world = GroupWorld(*hundred([]))
    envoy = Envoy(world, variant)
    world.offer(*hundred([0, 1, 2, 3, 4]))
    envoy.answer()
    assert {t: set(has) for t, has in envoy.has.items()} == good(hundred([]))
    assert all(content == "1" for has in envoy.has.values() for content in has.values())
    assert len(world.group.refusals) == 5
    mended = [resource(r.type_url, r.name, "2") for r in hundred([])]
    world.offer(*mended)
    envoy.answer()
    assert all(content == "2" for has in envoy.has.values() for content in has.values())
    assert not world.group.refusals


@VARIANTS
def test_a_new_proxy_gets_the_last_good_version_and_never_sees_the_bad_one(variant: str) -> None:
    world = GroupWorld(*hundred([]))
    first = Envoy(world, variant)
    world.offer(*hundred([0, 1, 2, 3, 4]))
    first.answer()
    second = Envoy(world, variant)
    assert second.has == first.has
    assert second.responses == 5


@VARIANTS
def test_other_changes_reach_a_proxy_that_refuses_one(variant: str) -> None:
    world = GroupWorld(*hundred([3]))
    envoy = Envoy(world, variant)
    world.offer(*(resource(r.type_url, r.name, "2") if i != 3 else r for i, r in enumerate(hundred([3]))))
    envoy.answer()
    assert all(content == "2" for has in envoy.has.values() for content in has.values())
    assert [r.name for r in world.group.refusals] == ["r03"]


@VARIANTS
def test_what_one_proxy_accepted_is_not_withheld_because_of_another(variant: str) -> None:
    world = GroupWorld(resource(CDS, "a"))
    accepts, refuses = getattr(world, variant)(), getattr(world, variant)()
    for client in (accepts, refuses):
        client.ask(CDS)
    world.group.judge("good", accepts.ack(accepts.one(CDS)))
    world.group.judge("old", refuses.nack(refuses.one(CDS)))
    assert not world.group.refusals
    third = getattr(world, variant)()
    third.ask(CDS)
    assert third.one(CDS).names == ["a"]


@VARIANTS
def test_a_proxy_that_accepts_what_another_refused_lifts_the_quarantine(variant: str) -> None:
    world = GroupWorld(resource(CDS, "a"))
    refuses, accepts = getattr(world, variant)(), getattr(world, variant)()
    for client in (accepts, refuses):
        client.ask(CDS)
    world.group.judge("old", refuses.nack(refuses.one(CDS)))
    assert len(world.group.refusals) == 1
    world.group.judge("good", accepts.ack(accepts.one(CDS)))
    assert not world.group.refusals


def test_what_a_last_good_route_needs_is_kept_for_new_proxies() -> None:
    world = GroupWorld(route("r", "x"), cluster("x"))
    envoy = Envoy(world, "delta")
    world.offer(resource(RDS, "r", "bad", [(CDS, "y")]), cluster("y"))
    envoy.answer()
    late = world.delta()
    late.ask(CDS)
    assert late.one(CDS).names == ["x", "y"]


@VARIANTS
def test_p09_a_cluster_without_an_assignment_gets_an_empty_one(variant: str) -> None:
    """Without any, Envoy holds the cluster back for 15 s, and with it the acknowledgement of all clusters."""
    world = GroupWorld(cluster("x"))
    client = getattr(world, variant)()
    client.get(CDS)
    assert client.get(EDS, ["x"]).contents == {"x": ""}


@VARIANTS
def test_5_sds_a_cluster_whose_secret_is_refused_is_withheld_until_it_is_mended(variant: str) -> None:
    """As long as it waits for its secret, Envoy answers no change of any cluster."""
    needs = resource(CDS, "tls", references=[(SDS, "key")])
    world = GroupWorld(needs, resource(CDS, "plain"), resource(SDS, "key", "bad"))
    client = getattr(world, variant)()
    client.ask(CDS)
    assert client.one(CDS).names == ["plain", "tls"]
    client.ask(SDS, ["key"])
    names = [["key"]] if variant == "sotw" else []
    world.group.judge("node-1", client.nack(client.one(SDS), *names))
    world.settle()
    without = client.take(CDS)[-1]
    assert (without.names, without.removed) == ((["plain"], []) if variant == "sotw" else ([], ["tls"]))
    world.offer(needs, resource(CDS, "plain"), resource(SDS, "key", "2"))
    assert client.one(SDS).contents == {"key": "2"}
    assert "tls" in client.take(CDS)[-1].names


def test_refusing_an_empty_response_blames_nobody() -> None:
    world = GroupWorld()
    client = world.sotw()
    client.ask(CDS)
    verdict = client.nack(client.one(CDS))
    assert (verdict.meaning, verdict.culprits, verdict.searching) == (Meaning.NACK, (), False)
    assert client.quiet()
    world.group.judge("node-1", verdict)
    assert [d.code for d in world.group.diagnostics()] == ["XDS7002"]


@VARIANTS
def test_the_status_says_what_is_refused_and_in_which_words(variant: str) -> None:
    world = GroupWorld(resource(CDS, "a", "bad"), resource(CDS, "b"))
    envoy = Envoy(world, variant)
    status = {s.type_url: s for s in envoy.client.session.status()}[CDS]
    assert (status.state, status.refused) == (State.ERROR, ("a",))


def test_a_refusal_names_proxy_type_resource_words_and_objects() -> None:
    ref = ObjectRef("networking.istio.io", "VirtualService", "default", "web")
    bad = Resource(RDS, "http.80", "v", (b"http.80=bad",), (Origin(ref, ("spec", "http", 0)),))
    world = GroupWorld(bad)
    Envoy(world, "delta")
    (refusal,) = world.group.refusals.values()
    found = refusal.diagnostic()
    assert found.code == "XDS7001"
    assert (found.ref, found.path) == (ref, ("spec", "http", 0))
    assert found.message == "node-1 refused rds 'http.80': no"
    assert "VirtualService/default/web" in found.suggestion


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("bad value", "bad value"),
        ('goo.gle/debugstr\nprivate_key: "hunter2"\n: Proto constraint failed (X)', "Proto constraint failed (X)"),
        ("Proto constraint failed: goo.gle/debugstr secret: hunter2", "Proto constraint failed:"),
        ("x" * 10_000, "x" * 500),
    ],
    ids=["as it is", "a dump before", "a dump after", "shortened"],
)
def test_the_words_of_a_client_are_shown_without_secrets(message: str, shown: str) -> None:
    assert words(message) == shown


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no", [["a1", "b2"], ["c3", "d4"]]),
        ("error adding c3: no", [["a1", "b2", "d4"], ["c3"]]),
        ("a1 b2 c3 d4", [["a1", "b2"], ["c3", "d4"]]),
    ],
    ids=["in the middle", "the named one last", "in the middle if all are named"],
)
def test_suspects_are_parted(message: str, expected: list[list[str]]) -> None:
    parts = split(tuple(resource(CDS, name) for name in ("a1", "b2", "c3", "d4")), message)
    assert [[r.name for r in part] for part in parts] == expected


def test_a_cluster_on_trial_that_is_in_flight_again_is_not_said_to_be_removed() -> None:
    """The client will take it from the response in flight, and may have a route to it."""
    world = GroupWorld(resource(CDS, "a"), resource(CDS, "d", "bad"), resource(LDS, "l"))
    client = world.delta()
    client.ask(CDS)
    client.ask(LDS)
    world.offer(resource(CDS, "a", "bad"), resource(CDS, "d"))
    world.offer(resource(CDS, "d", "2"))
    world.offer(resource(CDS, "d"))
    first, second, *_ = client.take(CDS)
    world.offer()
    client.nack(first)
    client.nack(second)
    assert all(got.removed == [] for got in client.take(CDS))


def test_a_refused_listener_that_is_published_no_more_keeps_no_cluster() -> None:
    """While it is published, the client goes on with the one of an earlier stream, whose routes may lead anywhere."""
    world = GroupWorld(resource(CDS, "a"), resource(LDS, "l", "bad"))
    client = world.delta()
    client.ask(CDS, versions={"a": "a-0"})
    client.ask(LDS, versions={"l": "l-0"})
    clusters, others = client.one(CDS), resource(CDS, "b")
    client.ack(clusters)
    listeners = client.one(LDS)
    world.offer(others)
    client.nack(listeners)
    removed: list[str] = []
    for _ in range(4):
        for got in client.take():
            removed += got.removed
            client.ack(got)
        client.wait(10)
    assert removed == ["l", "a"]


@VARIANTS
def test_a_source_that_replaces_a_suspect_during_the_search_ends_it(variant: str) -> None:
    world = GroupWorld(*(resource(CDS, name, "bad") for name in "abcd"))
    client = getattr(world, variant)()
    client.ask(CDS)
    client.nack(client.one(CDS))
    world.offer(*(resource(CDS, name, "2") for name in "abcd"))
    seen: set[str] = set()
    while got := client.take(CDS):
        for g in got:
            seen |= set(g.contents.values())
            if "bad" in g.contents.values():
                client.nack(g)
            else:
                client.ack(g)
                last = g
    assert seen <= {"bad", "2"}
    assert set(last.contents.values()) == {"2"}
    assert isinstance(world.resources, Resources)
