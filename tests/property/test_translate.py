"""What must hold for any objects in any order, whatever came before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property.worlds import World, anything, changes, snapshot
from xds_server.envoy.resource import CLUSTER, ROUTE, Resources
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Generations, no_memo
from xds_server.mesh.proxy import EVERY_GATEWAY, Interception, Proxy, ProxyKind
from xds_server.translate import Translation, translate

SEQUENCES = int(os.environ.get("XDS_SERVER_TEST_SEQUENCES", "60"))
"""How many sequences of changes to try; 10,000 takes about an hour."""

PROXIES = (
    EVERY_GATEWAY,
    Proxy(ProxyKind.GATEWAY, "default", (("istio", "gateway"),)),
    Proxy(ProxyKind.SIDECAR, "shop", (("app", "a"),), interception=Interception.NONE, http_proxy_port=15080),
    Proxy(ProxyKind.SIDECAR, "default", (("app", "b"),), dns_capture=True),
    Proxy(ProxyKind.GRPC, "default"),
)

some = settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def bytes_of(resources: Resources) -> dict[tuple[str, str], tuple[str, bytes, object]]:
    return {
        (type_url, name): (resource.version, resource.body, (tuple(resource.origins), tuple(resource.references)))
        for type_url, by_name in resources.by_type.items()
        for name, resource in by_name.items()
    }


def same(one: Translation, other: Translation) -> None:
    assert bytes_of(one.resources) == bytes_of(other.resources)
    assert one.diagnostics == other.diagnostics


def without_bugs(made: Translation) -> None:
    assert [found for found in made.diagnostics if found.code == "XDS1010"] == []


@some
@given(st.lists(st.tuples(changes, st.booleans()), min_size=1, max_size=6))
def test_incremental_equals_full_byte_for_byte(steps: list[tuple[list[tuple[object, bytes]], bool]]) -> None:
    memo = Generations()
    world: World = {}
    before: Snapshot | None = None
    for change, removes in steps:
        for ref, body in change:
            world[ref] = body  # type: ignore[index]
        if removes:
            world.pop(sorted(world)[0])
        before = snapshot(world, before)
        for proxy in PROXIES:
            incremental = translate(before, proxy, memo)
            without_bugs(incremental)
            same(incremental, translate(snapshot(world), proxy, no_memo))
        memo.turn()


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
