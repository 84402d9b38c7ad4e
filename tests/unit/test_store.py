from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from xds_server.diagnostics import ObjectRef
from xds_server.kube.core import Service
from xds_server.kube.istio.gateway import Gateway
from xds_server.kube.meta import Raw
from xds_server.kube.snapshot import Snapshot
from xds_server.sources.yaml import load
from xds_server.store import Batch, Changes, Store, snapshot_of


def service(name: str, spec: str = "{}") -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def gateway(name: str, spec: str = "{}") -> str:
    return f"apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec: {spec}\n"


BAD = "{prots: []}"


def batch(origin: str = "conf", **files: str | Sequence[str]) -> Batch:
    """A batch of the files `NAME.yaml`, each one or several documents."""
    loads = {}
    for name, documents in files.items():
        text = documents if isinstance(documents, str) else "---\n".join(documents)
        loads[f"{name}.yaml"] = load(text.encode(), f"{name}.yaml")
    return Batch(
        origin,
        tuple(raw for found in loads.values() for raw in found.raws),
        tuple(diagnostic for found in loads.values() for diagnostic in found.diagnostics),
        frozenset(name for name, found in loads.items() if found.broken),
    )


def names(snapshot: Snapshot, kind: type[Service] | type[Gateway] = Service) -> list[str]:
    return [name for _, name in snapshot.of(kind)]


def last_good(snapshot: Snapshot) -> list[str]:
    return sorted(ref.name for ref in snapshot.last_good)


def codes(snapshot: Snapshot) -> list[str]:
    return [
        f"{diagnostic.code} {diagnostic.position or diagnostic.ref or ''}".strip()
        for diagnostic in snapshot.diagnostics
    ]


def test_objects_are_sorted_and_found_by_type() -> None:
    snapshot = snapshot_of(batch(b=[service("z"), gateway("g")], a=service("a")))
    assert names(snapshot) == ["a", "z"]
    assert names(snapshot, Gateway) == ["g"]
    assert snapshot.of(Service)["default", "a"].metadata.name == "a"
    assert [str(source) for source in snapshot.sources.values()] == ["a.yaml:1", "b.yaml:1", "b.yaml:6"]


def test_what_did_not_change_stays_the_same_object() -> None:
    store = Store()
    before = store.apply("files", batch(a=[service("a"), service("b"), gateway("g")]))
    after = store.apply("files", batch(a=[service("a"), service("b", "{type: NodePort}"), gateway("g")]))
    assert after.number == before.number + 1
    assert after.of(Service)["default", "a"] is before.of(Service)["default", "a"]
    assert after.of(Service)["default", "b"] is not before.of(Service)["default", "b"]
    assert after.of(Service) is not before.of(Service)
    assert after.of(Gateway) is before.of(Gateway)


def test_nothing_is_published_when_nothing_changed() -> None:
    store = Store()
    before = store.apply("files", batch(a=[service("a"), service("b", BAD)]))
    assert store.apply("files", batch(a=[service("a"), service("b", BAD)])) is before
    assert store.snapshot is before


def test_an_empty_source_is_published_once_and_says_so() -> None:
    store = Store()
    first = store.apply("files", batch("conf/"))
    assert [diagnostic.message for diagnostic in first.diagnostics] == ["no objects were found in conf/"]
    assert store.apply("files", batch("conf/")) is first


def test_moved_lines_are_published_with_the_same_objects() -> None:
    store = Store()
    before = store.apply("files", batch(a=service("a")))
    after = store.apply("files", batch(a="# comment\n" + service("a")))
    assert after is not before
    assert after.of(Service) is before.of(Service)
    assert [str(source) for source in after.sources.values()] == ["a.yaml:2"]


def test_a_broken_object_keeps_its_last_good_form() -> None:
    store = Store()
    good = store.apply("files", batch(a=service("a")))
    broken = store.apply("files", batch(a=service("a", BAD)))
    assert broken.of(Service) is good.of(Service)
    assert last_good(broken) == ["a"]
    assert codes(broken) == ["XDS1004 Service/default/a"]
    worse = store.apply("files", batch(a=service("a", "{prots: 1}")))
    assert worse.of(Service) is good.of(Service)
    undone = store.apply("files", batch(a=service("a")))
    assert undone.of(Service) is good.of(Service)
    assert (last_good(undone), codes(undone)) == ([], [])


def test_a_broken_object_without_a_past_is_left_out_but_known() -> None:
    snapshot = snapshot_of(batch(a=[service("a", BAD), service("b")]))
    assert names(snapshot) == ["b"]
    assert last_good(snapshot) == []
    assert [ref.name for ref in snapshot.sources] == ["a", "b"]


def test_what_a_broken_file_does_not_show_stays() -> None:
    warned = gateway(
        "b", "{servers: [{defaultEndpoint: x, hosts: [a], port: {number: 80, name: http, protocol: HTTP}}]}"
    )
    store = Store()
    good = store.apply("files", batch(a=[service("a"), warned], c=service("c")))
    broken = store.apply("files", batch(a=[service("a"), "b: {"]))
    assert (names(broken), names(broken, Gateway), last_good(broken)) == (["a"], ["b"], ["b"])
    assert codes(broken) == ["XDS1001 a.yaml:6:5"]
    mended = store.apply("files", batch(a=[warned]))
    assert mended.of(Gateway) is good.of(Gateway)
    assert (names(mended), last_good(mended), codes(mended)) == ([], [], ["XDS1007 Gateway/default/b"])


def test_what_a_broken_directory_had_stays() -> None:
    store = Store()
    load_of = load(service("a").encode(), "conf/sub/a.yaml")
    store.apply("files", Batch("conf", load_of.raws))
    assert names(store.apply("files", Batch("conf", broken=frozenset({"conf/sub"})))) == ["a"]
    assert names(store.apply("files", Batch("conf", broken=frozenset({"conf/su"})))) == []


def test_a_deleted_object_goes_even_while_another_file_is_broken() -> None:
    store = Store()
    store.apply("files", batch(a=service("a"), b=service("b")))
    assert names(store.apply("files", batch(b="b: {"))) == ["b"]


def test_the_first_definition_counts_by_file_and_line() -> None:
    snapshot = snapshot_of(batch(b=service("a"), a=[service("x"), service("a", "{type: NodePort}"), service("a")]))
    assert snapshot.of(Service)["default", "a"].spec.type == "NodePort"
    assert codes(snapshot) == ["XDS1008 a.yaml:11:1", "XDS1008 b.yaml:1:1"]
    assert {diagnostic.message for diagnostic in snapshot.diagnostics} == {"the object is defined already in a.yaml:6"}


def test_the_first_source_wins() -> None:
    store = Store(["first", "second"])
    store.apply("second", batch("two", b=service("a", "{type: NodePort}")))
    both = store.apply("first", batch("one", a=service("a")))
    assert both.of(Service)["default", "a"].spec.type == "ClusterIP"
    assert codes(both) == ["XDS1008 b.yaml:1:1"]
    alone = store.apply("first", batch("one", c=service("c")))
    assert alone.of(Service)["default", "a"].spec.type == "NodePort"


def test_an_unknown_kind_is_told_once() -> None:
    unknown = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s}\n"
    snapshot = snapshot_of(batch(b=[unknown % "b", unknown % "c"], a=[service("a"), unknown % "d"]))
    assert codes(snapshot) == ["XDS1006 a.yaml:6:1"]
    assert len(snapshot.sources) == 1


NAMES = ["a", "b", "c"]
FILES = st.dictionaries(
    st.sampled_from(["f", "g"]),
    st.lists(
        st.builds(service, st.sampled_from(NAMES), st.sampled_from(["{}", "{type: NodePort}", BAD]))
        | st.builds(gateway, st.sampled_from(NAMES))
        | st.just("a: {\n"),
        max_size=4,
    ),
)


@settings(deadline=None)
@given(FILES, st.randoms(use_true_random=False))
def test_the_order_of_what_is_read_does_not_matter(files: dict[str, list[str]], random: Random) -> None:
    whole = batch(**files)
    raws, diagnostics = list(whole.raws), list(whole.diagnostics)
    random.shuffle(raws)
    random.shuffle(diagnostics)
    one, other = snapshot_of(whole), snapshot_of(Batch("conf", tuple(raws), tuple(diagnostics), whole.broken))
    assert codes(one) == codes(other)
    assert list(one.sources) == list(other.sources)
    assert [str(source) for source in one.sources.values()] == [str(source) for source in other.sources.values()]
    assert names(one) == names(other)


@settings(deadline=None)
@given(st.lists(FILES, min_size=1, max_size=4))
def test_changes_one_by_one_end_where_the_whole_does(history: list[dict[str, list[str]]]) -> None:
    whole, bit_by_bit = Store(), Store()
    bit_by_bit.apply("files", Batch("conf"))
    known: dict[ObjectRef, Raw] = {}
    for files in history:
        raws = {raw.ref: raw for raw in reversed(batch(**files).raws)}
        gone = tuple(ref for ref in known if ref not in raws)
        bit_by_bit.update("files", Changes(tuple(raws.values()), gone))
        whole.apply("files", Batch("conf", tuple(raws.values())))
        known = raws
        one, other = whole.snapshot, bit_by_bit.snapshot
        assert (codes(one), last_good(one)) == (codes(other), last_good(other))
        assert [(str(ref), str(source)) for ref, source in one.sources.items()] == [
            (str(ref), str(source)) for ref, source in other.sources.items()
        ]
        for kind in (Service, Gateway):
            assert names(one, kind) == names(other, kind)


@settings(deadline=None)
@given(st.lists(FILES, min_size=1, max_size=4))
def test_any_history_ends_where_a_fresh_start_does_but_for_the_last_good(history: list[dict[str, list[str]]]) -> None:
    store = Store()
    for files in history:
        snapshot = store.apply("files", batch(**files))
    fresh = snapshot_of(batch(**history[-1]))
    kept = {(ref.namespace, ref.name) for ref in snapshot.last_good}
    for kind in (Service, Gateway):
        assert set(fresh.of(kind)) | kept >= set(snapshot.of(kind)) >= set(fresh.of(kind))
    assert set(fresh.sources) <= set(snapshot.sources)
    assert set(codes(fresh)) - {"XDS1009"} <= set(codes(snapshot))
