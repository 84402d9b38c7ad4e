"""What an API server answers, as events; and what is asked of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from xds_server.diagnostics import ObjectRef
from xds_server.kube.decode import decode
from xds_server.kube.kinds import KINDS
from xds_server.kube.meta import Raw
from xds_server.sources.kubernetes_json import Reader, refusal, secret_names
from xds_server.sources.kubernetes_resources import Resource, Scope, parse_selectors, plural, resources, secret
from xds_server.sources.listwatch import Bookmark, Broken, Gone, List, Page, Put, Refused, Watch


def resource(kind: str, scope: Scope | None = None) -> Resource:
    return next(one for one in resources(scope or Scope()) if one.kind == kind)


def reader(kind: str) -> Reader:
    return Reader(resource(kind), "prod")


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def service(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7", **metadata}, "spec": {}}


def event(kind: str, item: Any) -> bytes:
    return text({"type": kind, "object": item})


def put(kind: str, item: Any) -> Raw:
    found = reader(kind).line(event("ADDED", item), 0)
    assert isinstance(found, Put)
    return found.item


WEB = ObjectRef("", "Service", "shop", "web")


def test_a_page_of_a_list() -> None:
    body = {"kind": "ServiceList", "metadata": {"resourceVersion": "9", "continue": "token"}, "items": [service()]}
    page = reader("Service").page(text(body), 0)
    assert isinstance(page, Page)
    assert (page.version, page.more) == ("9", "token")
    [item] = page.items
    assert item.ref == WEB
    assert (item.source.cluster, item.source.resource_version) == ("prod", "7")
    assert str(item.source) == "cluster prod"
    assert decode(item).object is not None, "the items of a list say neither apiVersion nor kind"


def test_an_empty_page() -> None:
    page = reader("Service").page(text({"metadata": {"resourceVersion": "9"}, "items": None}), 0)
    assert isinstance(page, Page)
    assert page.items == ()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(event("DELETED", service()), Gone(WEB, "7"), id="deleted"),
        pytest.param(event("BOOKMARK", {"metadata": {"resourceVersion": "8"}}), Bookmark("8"), id="a bookmark"),
        pytest.param(
            event(
                "BOOKMARK",
                {"metadata": {"resourceVersion": "8", "annotations": {"k8s.io/initial-events-end": "true"}}},
            ),
            Bookmark("8", complete=True),
            id="the end of the initial events",
        ),
        pytest.param(
            event("ERROR", {"kind": "Status", "code": 410, "message": "too old"}), Refused(410, "too old"), id="expired"
        ),
        pytest.param(event("ERROR", {"details": {"retryAfterSeconds": 3}}), Refused(500, "", 3), id="an error"),
    ],
)
def test_events_of_a_watch(body: bytes, told: object) -> None:
    assert reader("Service").line(body, 0) == told


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"{", "cannot be read", id="half a line"),
        pytest.param(b"<html>", "cannot be read", id="another server"),
        pytest.param(event("ADDED", {"spec": {}}), "cannot be read", id="an object without metadata"),
        pytest.param(event("MOVED", service()), "unknown type 'MOVED'", id="an unknown event"),
    ],
)
def test_what_cannot_be_read_breaks_the_watch(body: bytes, words: str) -> None:
    found = reader("Service").line(body, 0)
    assert isinstance(found, Broken)
    assert words in found.reason


@pytest.mark.parametrize(
    "change",
    [
        {"resourceVersion": "8"},
        {"managedFields": [{"manager": "kubectl"}]},
        {"generation": 4, "finalizers": ["a"], "ownerReferences": [], "selfLink": "/x"},
        {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}, "labels": {}},
    ],
    ids="+".join,
)
def test_what_nobody_reads_is_dropped_and_makes_no_new_object(change: dict[str, Any]) -> None:
    before = put("Service", service(annotations={}, labels={}))
    after = put("Service", service(**{"annotations": {}, "labels": {}, **change}))
    assert after.digest == before.digest
    assert msgspec.json.decode(after.body)["metadata"].keys() == {"name", "namespace", "annotations", "labels"}


def test_a_status_that_nobody_reads_is_dropped() -> None:
    item = {"metadata": {"name": "v", "namespace": "shop"}, "spec": {"hosts": ["a"]}, "status": {"x": 1}}
    assert "status" not in put("VirtualService", item).value()


def test_what_is_read_makes_a_new_object() -> None:
    assert put("Service", service()).digest != put("Service", service(labels={"a": "b"})).digest


def test_a_mistake_in_a_custom_resource_is_not_dropped() -> None:
    item = {"metadata": {"name": "v", "namespace": "shop"}, "spec": {"hosts": ["a"]}, "speck": {}}
    assert [found.code for found in decode(put("VirtualService", item)).diagnostics] == ["XDS1004"]


def test_a_field_of_a_newer_kubernetes_does_not_lose_the_object() -> None:
    item = {**service(), "novelty": 1, "spec": {"ports": [{"port": 80, "speed": "fast"}, {"port": 81, "name": "b"}]}}
    item["spec"]["ports"][0]["name"] = "a"
    found = decode(put("Service", item))
    assert found.object is not None
    assert [(told.code, told.ref, told.message) for told in found.diagnostics] == [
        ("XDS1013", None, f"Service has a field that this version does not know: {field}")
        for field in ("novelty", "spec.ports.speed")
    ]


@pytest.mark.parametrize(
    ("status", "body", "header", "refused"),
    [
        pytest.param(429, b"slow", "5", Refused(429, "slow", 5), id="text, with Retry-After"),
        pytest.param(403, text({"code": 403, "message": "no\n rights"}), "", Refused(403, "no rights"), id="a Status"),
        pytest.param(503, text({"code": 503, "details": {"retryAfterSeconds": 2}}), "", Refused(503, "", 2), id="late"),
        pytest.param(502, b"<html>", "soon", Refused(502, "<html>"), id="a proxy in between"),
    ],
)
def test_refusals(status: int, body: bytes, header: str, refused: Refused) -> None:
    assert refusal(status, body, header) == refused


@pytest.mark.parametrize(
    ("kind", "spec", "names"),
    [
        pytest.param(
            "Gateway",
            {"servers": [{"tls": {"credentialName": "kubernetes://a"}}, {"tls": {"credentialNames": ["b", "c"]}}]},
            {"a", "b", "c"},
            id="a Gateway",
        ),
        pytest.param(
            "DestinationRule", {"subsets": [{"trafficPolicy": {"tls": {"credentialName": "d"}}}]}, {"d"}, id="a rule"
        ),
        pytest.param("VirtualService", {"hosts": ["credentialName"]}, set(), id="a word that is no field"),
    ],
)
def test_references_to_secrets(kind: str, spec: Any, names: set[str]) -> None:
    found = secret_names(put(kind, {"metadata": {"name": "x", "namespace": "y"}, "spec": spec}))
    assert found == names | {f"{name}-cacert" for name in names}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("Service", "services"), ("Endpoints", "endpoints"), ("EndpointSlice", "endpointslices")),
        *(("Gateway", "gateways"), ("ServiceEntry", "serviceentries"), ("Ingress", "ingresses")),
        *(("AuthorizationPolicy", "authorizationpolicies"), ("Telemetry", "telemetries"), ("IngressClass",) * 2),
    ],
)
def test_plurals(kind: str, name: str) -> None:
    assert plural(kind) == (name if name != kind else "ingressclasses")


@pytest.mark.parametrize(
    ("asked", "request_", "path", "parameters"),
    [
        pytest.param(resource("Service"), List(0), "/api/v1/services", {"limit": "500"}, id="a first page"),
        pytest.param(
            resource("Service"), List(0, "t"), "/api/v1/services", {"limit": "500", "continue": "t"}, id="another page"
        ),
        pytest.param(resource("Service"), List(0, is_paged=False), "/api/v1/services", {}, id="a list at once"),
        pytest.param(
            resource("VirtualService", Scope(("shop",))),
            Watch(1, "7", 300),
            "/apis/networking.istio.io/v1beta1/namespaces/shop/virtualservices",
            {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": "300", "resourceVersion": "7"},
            id="a watch in a namespace, of an older version",
        ),
        pytest.param(
            secret("web", Scope(selectors={"Secret": "a=b"}))[0],
            Watch(0, "", 300),
            "/api/v1/secrets",
            {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "timeoutSeconds": "300",
                "sendInitialEvents": "true",
                "resourceVersionMatch": "NotOlderThan",
                "labelSelector": "a=b",
                "fieldSelector": "metadata.name=web",
            },
            id="a streamed list of one secret",
        ),
    ],
)
def test_requests(asked: Resource, request_: List | Watch, path: str, parameters: dict[str, str]) -> None:
    url = urlsplit(asked.url(request_))
    assert url.path == path
    assert {key: values for key, [values] in parse_qs(url.query).items()} == parameters


def test_selectors_are_for_namespaced_kinds_or_for_one() -> None:
    scope = Scope(selectors=parse_selectors(["team=shop", "Pod:app in (a, b)"], {"Pod"}))
    chosen = {one.kind: one.selector for one in resources(scope)}
    assert (chosen["Service"], chosen["Pod"], chosen["Node"]) == ("team=shop", "app in (a, b)", "")


@pytest.mark.parametrize(
    ("selectors", "words"),
    [
        pytest.param(["Pot:a=b"], "'Pot' .* is no kind that is read", id="no kind"),
        pytest.param(["Pod: "], "is empty", id="nothing"),
        pytest.param(["a=b", "c=d"], "two selectors", id="two"),
    ],
)
def test_selectors_that_are_wrong(selectors: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_selectors(selectors, {kind for _, kind in KINDS})


def test_only_what_is_in_no_namespace_may_be_forbidden_where_namespaces_are_chosen() -> None:
    single = {kind for (_, kind), entry in KINDS.items() if entry.only}
    assert {one.kind for one in resources(Scope()) if one.is_optional} == single
    assert {one.kind for one in resources(Scope(("a",))) if one.is_optional} == single | {
        kind for (_, kind), entry in KINDS.items() if not entry.namespaced
    }


def test_of_a_kind_with_only_one_object_nothing_else_is_asked_for() -> None:
    [found] = [one for one in resources(Scope(("a", "b"), {"*": "team=shop"})) if one.kind == "ConfigMap"]
    assert str(found) == "istio-system/configmaps/istio"
    assert (
        found.url(List(0)) == "/api/v1/namespaces/istio-system/configmaps?fieldSelector=metadata.name%3Distio&limit=500"
    )
