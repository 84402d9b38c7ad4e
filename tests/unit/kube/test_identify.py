from __future__ import annotations

from typing import Any

import pytest

from xds_server.kube.identify import Unidentified, flatten, identify
from xds_server.kube.meta import Raw, Source

NOWHERE = Source()

NO_OBJECTS: dict[str, tuple[Any, str]] = {
    "text": ("text", "a Kubernetes object is a mapping with apiVersion, kind and metadata"),
    "a list": ([1], "a Kubernetes object is a mapping with apiVersion, kind and metadata"),
    "no apiVersion": ({"kind": "Pod"}, "apiVersion is missing"),
    "an apiVersion that is a number": ({"apiVersion": 1, "kind": "Pod"}, "apiVersion is not a string"),
    "no kind": ({"apiVersion": "v1"}, "kind is missing"),
    "no metadata": ({"apiVersion": "v1", "kind": "Pod"}, "metadata is missing"),
    "metadata that is a list": ({"apiVersion": "v1", "kind": "Pod", "metadata": [1]}, "metadata is not a mapping"),
    "no name": ({"apiVersion": "v1", "kind": "Pod", "metadata": {}}, "name is missing"),
    "a name that is a number": ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 1}}, "name is not a string"),
    "a namespace that is a number": (
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": 1}},
        "namespace is not a string",
    ),
}


@pytest.mark.parametrize(("value", "detail"), NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_what_is_no_object_says_why(value: Any, detail: str) -> None:
    found = identify(value, NOWHERE)
    assert isinstance(found, Unidentified)
    assert found.detail == detail


REFS = {
    "a namespaced kind gets the namespace default": ("v1", "Service", {"name": "a"}, "Service/default/a", ""),
    "a null namespace is absent": ("v1", "Service", {"name": "a", "namespace": None}, "Service/default/a", ""),
    "a namespace stays": ("v1", "Service", {"name": "a", "namespace": "b"}, "Service/b/a", ""),
    "a kind of the cluster has none": ("v1", "Node", {"name": "a"}, "Node/a", ""),
    "the group is the version's first part": (
        "networking.istio.io/v1beta1",
        "Gateway",
        {"name": "a"},
        "Gateway/default/a",
        "networking.istio.io",
    ),
}


@pytest.mark.parametrize(("version", "kind", "metadata", "text", "group"), REFS.values(), ids=REFS)
def test_an_object_is_named(version: str, kind: str, metadata: dict[str, Any], text: str, group: str) -> None:
    found = identify({"apiVersion": version, "kind": kind, "metadata": metadata}, NOWHERE)
    assert isinstance(found, Raw)
    assert (str(found.ref), found.ref.group) == (text, group)
    if text.count("/") == 2:
        assert found.value()["metadata"]["namespace"] == found.ref.namespace


def test_a_kind_that_is_not_read_is_named_only() -> None:
    found = identify({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}, NOWHERE)
    assert isinstance(found, Raw)
    assert found.body == b""


def test_a_list_is_its_items_with_their_paths() -> None:
    inner = {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"}]}
    value = {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Service"}, inner, 3]}
    assert list(flatten(value)) == [
        (("items", 0), {"kind": "Service"}),
        (("items", 1, "items", 0), {"kind": "Pod"}),
        (("items", 2), 3),
    ]


def test_the_items_of_a_typed_list_need_no_kind() -> None:
    value = {"apiVersion": "v1", "kind": "ServiceList", "items": [{"metadata": {"name": "a"}}]}
    assert list(flatten(value)) == [(("items", 0), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}})]


def test_an_object_that_is_no_list_is_itself() -> None:
    assert list(flatten({"kind": "Service"})) == [((), {"kind": "Service"})]
