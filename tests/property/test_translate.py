"""What must hold for any objects in any order, whatever came before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property.worlds import World, anything, changes, snapshot
from xds_server.diagnostics import ObjectRef
from xds_server.envoy.resource import CLUSTER, ROUTE, Resources
from xds_server.incremental import Pieces
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Generations, no_memo
from xds_server.mesh.model import Locality
from xds_server.mesh.proxy import EVERY_GATEWAY, Interception, Proxy, ProxyKind
from xds_server.translate import Translation, translate
from xds_server.xds.group import Group, Settled
from xds_server.xds.intern import Intern
from xds_server.xds.table import digest

SEQUENCES = int(os.environ.get("XDS_SERVER_TEST_SEQUENCES", "60"))
"""How many sequences of changes to try; 10,000 takes about an hour."""

A, B, ZONE = (("app", "a"),), (("app", "b"),), Locality("r", "z")
PROXIES = (
    EVERY_GATEWAY,
    Proxy(ProxyKind.GATEWAY, "default", (("istio", "gateway"),)),
    Proxy(ProxyKind.SIDECAR, "shop", A, interception=Interception.NONE, http_proxy_port=15080),
    Proxy(ProxyKind.SIDECAR, "default", B, dns_capture=True),
    Proxy(ProxyKind.GRPC, "default"),
)
ALIKE = (
    Proxy(ProxyKind.GATEWAY, "shop", (("istio", "gateway"),), ZONE),
    Proxy(ProxyKind.GATEWAY, "default", (("istio", "gateway"),), unprivileged=True),
    Proxy(ProxyKind.SIDECAR, "shop", A, http_proxy_port=15080),
    Proxy(ProxyKind.SIDECAR, "shop", B, http_proxy_port=15080),
    Proxy(ProxyKind.SIDECAR, "shop", (*A, ("version", "v2")), http_proxy_port=15080, node="n1"),
    Proxy(ProxyKind.SIDECAR, "shop", A, interception=Interception.NONE, http_proxy_port=15080, unprivileged=True),
    Proxy(ProxyKind.SIDECAR, "default", A, ZONE, dns_capture=True),
    Proxy(ProxyKind.SIDECAR, "default", A, dns_capture=True, node="a", network="x", service_account="other"),
    Proxy(ProxyKind.GRPC, "default", A, ZONE),
)
"""Which have this or that in common with one of `PROXIES`, and with each other."""

some = settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def bytes_of(resources: Resources) -> dict[tuple[str, str], tuple[str, bytes, object]]:
    return {
        (type_url, name): (resource.version, resource.body, (_told(resource.origins), _told(resource.references)))
        for type_url, by_name in resources.by_type.items()
        for name, resource in by_name.items()
    }


def _told(values: Sequence[object]) -> object:
    """Of what is in pieces, where these are cut makes a difference to what is there twice."""
    return sorted(set(values), key=repr) if isinstance(values, Pieces) else list(values)


def same(one: Translation, other: Translation) -> None:
    assert bytes_of(one.resources) == bytes_of(other.resources)
    assert one.diagnostics == other.diagnostics


def without_bugs(made: Translation) -> None:
    assert [found for found in made.diagnostics if found.code == "XDS1010"] == []


@pytest.fixture(scope="module", params=["as it is", "small"])
def sizes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Small: as if there were many rows of everything, so that mappings have edits alone and pieces are many."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "small":
            patch.setattr(sys.modules["xds_server.incremental.fixed"], "_SMALL", 1)
            patch.setattr(sys.modules["xds_server.incremental.order"], "_PIECE", 2)
        yield


Steps = list[tuple[list[tuple[ObjectRef, bytes]], int, int]]
"""What changes, how many objects go, and how many generations end after it."""
steps_of_some = st.lists(st.tuples(changes, st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6)


@pytest.mark.usefixtures("sizes")
@some
@given(st.lists(anything, max_size=25), steps_of_some, st.randoms(use_true_random=False))
def test_incremental_equals_full_byte_for_byte(
    start: list[tuple[ObjectRef, bytes]], steps: Steps, random: Random
) -> None:
    """Also of what is offered: what differs from before, and its digest."""
    memo, intern = Generations(), Intern()
    world: World = {}
    before: Snapshot | None = None
    groups = {proxy: Group() for proxy in (*PROXIES, *ALIKE)}
    for change, removed, turns in [(start, 0, 1), *steps]:
        world.update(change)
        for _ in range(min(removed, len(world) - 1)):
            del world[random.choice(sorted(world))]
        before = snapshot(world, before)
        for proxy in random.sample(list(groups), random.randint(3, 6)):
            incremental = translate(before, proxy, memo)
            without_bugs(incremental)
            full = translate(snapshot(world), proxy, no_memo)
            same(incremental, full)
            new = groups[proxy].settle(incremental.resources, memo, intern)
            groups[proxy].offer(new)
            offered_alike(new, Group().settle(full.resources, no_memo, Intern()))
        for _ in range(turns):
            memo.turn()


def offered_alike(one: Settled, other: Settled) -> None:
    for type_url, table in one.tables.by_type.items():
        rows, expected = table.rows, other.tables.by_type[type_url]
        versions = {name: resource.version for name, resource in rows.items()}
        assert versions == {name: resource.version for name, resource in expected.rows.items()}
        assert (len(rows), table.digest) == (len(versions), expected.digest)
        assert table.digest == digest(rows.values())


@some
@given(st.lists(anything, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(found: list[tuple[object, bytes]], random: object) -> None:
    world = dict(found)
    shuffled = list(world.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for proxy in PROXIES:
        same(translate(snapshot(world), proxy), translate(snapshot(dict(shuffled)), proxy))  # type: ignore[arg-type]


@some
@given(st.lists(anything, min_size=1, max_size=12))
def test_a_route_names_only_clusters_that_are_there_or_that_a_diagnostic_names(
    found: list[tuple[object, bytes]],
) -> None:
    for proxy in PROXIES:
        made = translate(snapshot(dict(found)), proxy)  # type: ignore[arg-type]
        clusters = made.resources.by_type[CLUSTER]
        named = {name for r in made.resources.by_type[ROUTE].values() for kind, name in r.references if kind == CLUSTER}
        if named - set(clusters):
            assert any(found.code in ("XDS2001", "XDS2002", "XDS2003", "XDS2007") for found in made.diagnostics)


PROGRAM = """
import hashlib, sys
from pathlib import Path
from tests.objects import snapshot_of_files
from tests.property.test_translate import PROXIES, bytes_of
from xds_server.translate import translate
snapshots = [snapshot_of_files(Path(file)) for file in sys.argv[1:]]
made = [sorted(bytes_of(translate(each, proxy).resources).items()) for each in snapshots for proxy in PROXIES]
print(hashlib.sha256(repr(made).encode()).hexdigest())
"""


def test_every_process_gives_the_same_bytes() -> None:
    """Whatever the seed of its hashes is."""
    root = Path(__file__).parents[2]
    files = sorted(str(file) for file in root.glob("tests/golden/*/*/in.yaml"))
    hashes = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, *files],
            stdout=subprocess.PIPE,
            check=True,
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(hashes) == 1
