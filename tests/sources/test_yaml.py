from __future__ import annotations

import json as plain_json
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xds_server.kube.meta import Source
from xds_server.sources import json, tree
from xds_server.sources.yaml import MAX_DOCUMENT_CHARACTERS, MAX_FILE_BYTES, Loaded, load, locate, split

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: %s}\n"


def loaded(text: str, file: str = "in.yaml", previous: Loaded | None = None) -> Loaded:
    return load(dedent(text).encode(), file, previous or Loaded())


def told(found: Loaded) -> list[str]:
    return [f"{diagnostic.position}: {diagnostic.code} {diagnostic.message}" for diagnostic in found.diagnostics]


def names(found: Loaded) -> list[str]:
    return [raw.ref.name for raw in found.raws]


BROKEN = {
    "a key twice in one mapping, both places": (
        "a: 1\nb: {c: 1, d: 2,\n  c: 3}\na: 4\n",
        [
            "in.yaml:3:3: XDS1003 the key 'c' appears twice in one mapping, first at 2:5",
            "in.yaml:4:1: XDS1003 the key 'a' appears twice in one mapping, first at 1:1",
        ],
    ),
    "a tab as indentation": ("a:\n\tb: 1\n", ["in.yaml:2:1: XDS1001 a tab is used for indentation"]),
    "a mapping that is not closed": (
        "a: {b: 1\nc: 2\n",
        ["in.yaml:2:2: XDS1001 the mapping in {} is not closed, or a comma is missing; it begins at 1:4"],
    ),
    "a quote that is not closed": (
        "a: 'b\nc: d\n",
        ["in.yaml:3:1: XDS1001 the quoted text is not closed, or a comma is missing; it begins at 1:4"],
    ),
    "two values in one line": ("a: b: c\n", ["in.yaml:1:5: XDS1001 a second ': ' in one line, or a wrong indentation"]),
    "a character that starts no value": ("a: @b\n", ["in.yaml:1:4: XDS1001 a value cannot start with '@'"]),
    "a control character": ("a: b\nc: \x07\n", ["in.yaml:2:4: XDS1001 control characters are not allowed: '\\x07'"]),
    "keys that are no strings": (
        "80: a\non: b\n~: c\n1.5: d\n",
        [
            "in.yaml:1:1: XDS1001 the key '80' is read as a number; keys must be strings",
            "in.yaml:2:1: XDS1001 the key 'on' is read as true; keys must be strings",
            "in.yaml:3:1: XDS1001 the key '~' is read as null; keys must be strings",
            "in.yaml:4:1: XDS1001 the key '1.5' is read as a number; keys must be strings",
        ],
    ),
    "a template that is not filled in": (
        "a: 1\n{{ .Values.b }}: c\n",
        ["in.yaml:2:1: XDS1001 a mapping or list is used as a key; keys must be strings"],
    ),
    "tags": (
        "a: !!python/object 1\nb: !c {d: 1}\ne: !!int f\n",
        [
            "in.yaml:1:4: XDS1001 the tag !!python/object is not supported",
            "in.yaml:2:4: XDS1001 the tag !c is not supported",
            "in.yaml:3:4: XDS1001 the value is no !!int",
        ],
    ),
    "numbers that JSON cannot hold": (
        "a: .nan\nb: [-.inf]\n",
        ["in.yaml:1:4: XDS1001 .nan has no JSON form", "in.yaml:2:5: XDS1001 -.inf has no JSON form"],
    ),
    "an alias without its anchor": (
        "a: *b\n",
        ["in.yaml:1:4: XDS1001 the alias *b has no anchor &b that is complete before it"],
    ),
    "an alias of what is around it": (
        "a: &b [*b]\n",
        ["in.yaml:1:8: XDS1001 the alias *b has no anchor &b that is complete before it"],
    ),
    "a merge of no mapping": ("a: 1\n<<: b\n", ["in.yaml:1:1: XDS1001 the merge key << needs a mapping"]),
    "a document that is text": (
        "--- text\n",
        ["in.yaml:1:5: XDS1001 a Kubernetes object is a mapping with apiVersion, kind and metadata"],
    ),
    "a document without a kind": (
        "# comment\n---\nmetadata: {name: a}\napiVersion: v1\n",
        ["in.yaml:3:1: XDS1001 kind is missing"],
    ),
    "an object without a name": (
        "apiVersion: v1\nkind: Service\nmetadata:\n  labels: {}\n",
        ["in.yaml:4:3: XDS1001 name is missing"],
    ),
    "an item of a list that is no object": (
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n- kind: Service\n",
        ["in.yaml:4:3: XDS1001 kind is missing", "in.yaml:5:3: XDS1001 apiVersion is missing"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_told_with_its_place(text: str, expected: list[str]) -> None:
    found = load(text.encode(), "in.yaml")
    assert told(found) == expected
    assert found.raws == ()
    assert found.broken


DEEP = tree.MAX_DEPTH + 1
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
LONG_BOMB = f"a: &a {'x' * 10_000}\nb: [{'*a,' * 200}]\n"

REFUSED = {
    "lists inside each other": ("[" * DEEP, "more than 100 mappings and lists are inside each other"),
    "very many lists inside each other": ("[" * 100_000, "more than 100 mappings and lists are inside each other"),
    "mappings inside each other": ("{a: " * DEEP, "more than 100 mappings and lists are inside each other"),
    "block lists inside each other": ("- " * DEEP, "more than 100 mappings and lists are inside each other"),
    "an alias bomb": (BOMB, "aliases expand the document by more than 1,000,000 nodes and characters"),
    "an alias bomb of one long text": (LONG_BOMB, "aliases expand the document by more than 1,000,000"),
    "merges of merges": (
        "a0: &a0 {x: y}\n" + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12)),
        "aliases expand the document by more than 1,000,000",
    ),
    "a document that is too long": (f"a: {'x' * MAX_DOCUMENT_CHARACTERS}", "16,777,216 are allowed"),
}


@pytest.mark.parametrize(("text", "detail"), REFUSED.values(), ids=REFUSED)
def test_what_would_hurt_the_server_is_refused(text: str, detail: str) -> None:
    found = load(f"{text}\n---\n{SERVICE % 'a'}".encode(), "in.yaml")
    assert [detail in diagnostic.message for diagnostic in found.diagnostics] == [True]
    assert names(found) == ["a"]


@pytest.mark.parametrize(
    ("text", "file"),
    [("a: b\n" * 5_000, "in.yaml"), ("1: b\n" * 5_000, "in.yaml"), ("{" + '"a": 1,' * 5_000 + '"b": 1}', "in.json")],
    ids=["a key many times", "many bad keys", "a JSON key many times"],
)
def test_the_mistakes_of_a_document_are_told_up_to_a_limit(text: str, file: str) -> None:
    found = load(text.encode(), file)
    told_of = [diagnostic for diagnostic in found.diagnostics if "more than 1,000 mistakes" not in diagnostic.message]
    assert len(told_of) == tree.MAX_PROBLEMS


def test_documents_share_one_budget_of_aliases() -> None:
    half = f"a: &a {'x' * 10_000}\nb: [{'*a,' * 45}]\n"
    found = load("---\n".join(half + f"c: {number}\n" for number in range(5)).encode(), "in.yaml")
    refused = [diagnostic for diagnostic in found.diagnostics if "aliases expand the file" in diagnostic.message]
    assert len(refused) == 3


def test_a_document_without_aliases_needs_no_budget() -> None:
    bombs = "---\n".join(f"a: &a {'x' * 10_000}\nb: [{'*a,' * 45}]\nc: {number}\n" for number in range(3))
    assert names(load(f"{bombs}---\n{SERVICE % 'a'}".encode(), "in.yaml")) == ["a"]


@pytest.mark.parametrize(
    ("content", "expected"),
    {
        "a byte that is no UTF-8": (b"a: 1\nb: \xe9\n", "in.yaml:2:4: XDS1002 the file is not UTF-8: invalid"),
        "UTF-16": ("a: 1\n".encode("utf-16"), "in.yaml:1:1: XDS1002 the file is not UTF-8: invalid"),
        "too many bytes": (b"#" * (MAX_FILE_BYTES + 1), "in.yaml:1:1: XDS1002 the file has 67,108,865 bytes"),
    }.values(),
)
def test_a_file_that_is_no_text_is_left_out(content: bytes, expected: str) -> None:
    found = load(content, "in.yaml")
    assert [line.startswith(expected) for line in told(found)] == [True], told(found)
    assert found.broken


def test_a_broken_document_does_not_spoil_the_others() -> None:
    text = f"{SERVICE % 'a'}---\na: {{\n---\n{SERVICE % 'b'}...\na: [\n---\n{SERVICE % 'c'}---\nx: 'y\n"
    found = load(text.encode(), "in.yaml")
    assert names(found) == ["a", "b", "c"]
    assert [str(diagnostic.position) for diagnostic in found.diagnostics] == [
        "in.yaml:6:1",
        "in.yaml:12:1",
        "in.yaml:18:1",
    ]


EMPTY = {
    "nothing": "",
    "a byte order mark": "\ufeff",
    "comments": "# a\n\n  # b\n",
    "empty documents": "---\n---\n# a\n---\n...\n",
    "a null": "--- ~\n---\nnull\n",
}


@pytest.mark.parametrize("text", EMPTY.values(), ids=EMPTY)
def test_empty_documents_are_skipped(text: str) -> None:
    found = load(text.encode(), "in.yaml")
    assert (found.raws, found.diagnostics, found.broken) == ((), (), False)


def test_values_are_read_as_kubernetes_reads_them() -> None:
    text = """
        apiVersion: v1
        kind: Service
        metadata: &m
          name: a
          labels: {a: 12:30:00, b: 1e3, c: on, d: "on", e: 'yes', f: 2001-01-01, g: !!str 12, "y": z}
        spec:
          <<: {type: NodePort, ports: [1]}
          ports: [~, ]
          text: |
            a
              b
    """
    (raw,) = loaded(text).raws
    value = raw.value()
    assert value["metadata"]["labels"] == {
        "a": "12:30:00",
        "b": 1000,
        "c": True,
        "d": "on",
        "e": "yes",
        "f": "2001-01-01",
        "g": "12",
        "y": "z",
    }
    assert value["spec"] == {"ports": [None], "text": "a\n  b\n", "type": "NodePort"}


def test_the_first_of_several_merges_wins_and_what_is_written_wins_over_all() -> None:
    assert tree.parse("a: {<<: [{b: 1, c: 1}, {b: 2, d: 2}], d: 3}").value == {"a": {"b": 1, "c": 1, "d": 3}}


def test_a_byte_order_mark_and_carriage_returns_are_accepted() -> None:
    text = "\ufeff" + (SERVICE % "a").replace("\n", "\r\n") + "---\r\n" + (SERVICE % "b").replace("\n", "\r\n")
    found = load(text.encode(), "in.yaml")
    assert names(found) == ["a", "b"]
    assert str(locate(found.raws[1].source, ("metadata", "name"))) == "in.yaml:7:18"


def test_directives_are_skipped() -> None:
    assert names(loaded("%YAML 1.1\n---\n" + SERVICE % "a")) == ["a"]


def test_the_items_of_lists_are_objects_with_their_own_lines() -> None:
    text = """\
        apiVersion: v1
        kind: List
        items:
        - apiVersion: v1
          kind: Service
          metadata: {name: a}
        - apiVersion: v1
          kind: ServiceList
          items:
          - metadata: {name: b}
            spec: {type: x}
    """
    found = loaded(text)
    assert [(raw.ref.name, raw.source.start) for raw in found.raws] == [("a", 4), ("b", 7)]
    assert str(locate(found.raws[1].source, ("spec", "type"))) == "in.yaml:11:18"


def test_an_edit_parses_only_the_document_that_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse = tree.parse
    monkeypatch.setattr(tree, "parse", lambda text: parsed.append(text) or parse(text))
    texts = [SERVICE % name for name in "abc"]
    first = load("---\n".join(texts).encode(), "in.yaml")
    assert len(parsed) == 3
    parsed.clear()
    texts[1] = SERVICE % "changed"
    text = "# moved\n---\n" + "---\n".join(texts)
    second = load(text.encode(), "in.yaml", first)
    assert len(parsed) == 2  # the changed one, and the first, which has a `---` before it now
    assert [raw.source.start for raw in second.raws] == [3, 7, 11]
    assert set(second.documents) == {part for _, part in split(text)}


PLACED = """\
---
# comment
apiVersion: v1
kind: Service
metadata: {name: a}
spec:
  <<: {type: NodePort}
  ports:
  - port: 80
  old: &old
  - port: 81
  again: *old
"""
PLACES = {
    "an object": ((), False, "in.yaml:3:1"),
    "a value": (("spec", "ports", 0, "port"), False, "in.yaml:9:11"),
    "its key": (("spec", "ports", 0, "port"), True, "in.yaml:9:5"),
    "a block": (("spec", "ports"), False, "in.yaml:9:3"),
    "the key of a block": (("spec", "ports"), True, "in.yaml:8:3"),
    "a value that came by a merge": (("spec", "type"), False, "in.yaml:7:14"),
    "a value of an alias": (("spec", "again", 0, "port"), False, "in.yaml:11:11"),
    "the parent of what is not there": (("spec", "ports", 0, "name"), False, "in.yaml:9:5"),
    "the parent of an item that is not there": (("spec", "ports", 7, "name"), True, "in.yaml:9:3"),
    "the parent of a step into a text": (("kind", "name"), True, "in.yaml:4:7"),
}


@pytest.mark.parametrize(("path", "key", "expected"), PLACES.values(), ids=PLACES)
def test_a_field_is_found_in_its_file(path: tuple[str | int, ...], key: bool, expected: str) -> None:
    source = Source("in.yaml", 1, PLACED)
    assert str(locate(source, path, key=key)) == expected


def test_a_source_without_yaml_is_its_first_line() -> None:
    assert str(locate(Source("in.yaml", 5, "a: {"), ("a",))) == "in.yaml:5:1"


JSON_BROKEN = {
    "a comma too many": ('{"a": 1,}', ["in.json:1:9: XDS1001 this is not JSON: Expecting property name"]),
    "a key twice": (
        '{\n"a": {"b": 1,\n "b": 2}}',
        ["in.json:3:2: XDS1003 the key 'b' appears twice in one mapping, first at 2:7"],
    ),
    "a key twice, in a form that is no YAML": (
        '\t{"a"\n: 1, "a": 2}',
        ["in.json:1:1: XDS1003 the key 'a' appears twice in one mapping, first at the same place"],
    ),
    "not a number": ('{"a": NaN}', ["in.json:1:1: XDS1001 NaN is not JSON"]),
    "a number without end": ('{"a": 1e999}', ["in.json:1:1: XDS1001 the number 1e999 is too large"]),
    "an integer without end": ('{"a": %s}' % ("9" * 5000), ["in.json:1:1: XDS1001 the number 99999999999999999999 is"]),
    "half a character": ('{"a": "\\ud800"}', ["in.json:1:1: XDS1001 "]),
    "nesting": ("[" * 101 + "]" * 101, ["in.json:1:1: XDS1001 more than 100"]),
    "nesting beyond Python's own limit": ("[" * 50_000 + "]" * 50_000, ["in.json:1:1: XDS1001 more than 100"]),
}


@pytest.mark.parametrize(("text", "expected"), JSON_BROKEN.values(), ids=JSON_BROKEN)
def test_what_is_wrong_in_json_is_told_with_its_place(text: str, expected: list[str]) -> None:
    found = load(text.encode(), "in.json")
    assert len(found.diagnostics) == len(expected)
    assert all(line.startswith(start) for line, start in zip(told(found), expected, strict=True)), told(found)
    assert found.broken


def test_json_files_give_objects_with_lines() -> None:
    text = '{"apiVersion": "v1", "kind": "Service",\n\t"metadata": {"name": "a", "labels": {"x": "\\ud83d\\ude00"}}}'
    found = load(text.encode(), "in.json")
    assert names(found) == ["a"]
    assert found.raws[0].value()["metadata"]["labels"]["x"] == "😀"
    assert str(locate(found.raws[0].source, ("metadata", "name"))) == "in.json:2:23"


TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0.5, -1.25, 1e-7]) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(TEXT, VALUES, max_size=3))
def test_json_means_the_same_in_a_yaml_file(value: dict[str, Any]) -> None:
    text = plain_json.dumps(value, ensure_ascii=False)
    assert json.parse(text).value == value
    read = tree.parse(text)
    assert read.problems == ()
    assert read.value == value


FRAGMENTS = st.lists(
    st.sampled_from(
        "a|: |- |---\n|...\n|  |\n|{|}|[|]|,|&x |*x|<<: |!!str |'|\"|>\n|#|\t|? |%|~|1e3|\r|\u2028|é|😀|\x00|"
        "apiVersion: v1\n|kind: Service\n|kind: List\n|items: |metadata: {name: a}\n".split("|")
    ),
    max_size=30,
).map("".join)


@settings(deadline=None)
@given(st.binary() | FRAGMENTS.map(str.encode), st.sampled_from(["in.yaml", "in.json"]))
@example(b"\xef\xbb\xbf---", "in.yaml")
def test_any_bytes_give_objects_or_places_in_the_file(content: bytes, file: str) -> None:
    found = load(content, file)
    lines = content.count(b"\n") + 1
    assert found.broken is bool(found.diagnostics)
    for diagnostic in found.diagnostics:
        assert diagnostic.position is not None
        assert 1 <= diagnostic.position.line <= lines
        assert diagnostic.position.column >= 1
    for raw in found.raws:
        assert 1 <= raw.source.start <= lines
        assert raw.source.start <= locate(raw.source, ("metadata", "name")).line <= lines


@settings(deadline=None)
@given(FRAGMENTS, FRAGMENTS)
def test_what_was_loaded_before_changes_nothing(before: str, after: str) -> None:
    fresh = load(after.encode(), "in.yaml")
    again = load(after.encode(), "in.yaml", load(before.encode(), "in.yaml"))
    assert told(fresh) == told(again)
    assert [(raw.ref, raw.body, str(raw.source)) for raw in fresh.raws] == [
        (raw.ref, raw.body, str(raw.source)) for raw in again.raws
    ]
