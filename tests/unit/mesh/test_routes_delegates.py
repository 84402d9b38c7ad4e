"""Routes that one VirtualService leaves to another."""

from __future__ import annotations

import pytest

from tests.objects import seen
from xds_server.mesh.model import Forward, Respond, Route

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec:
  selector: {app: edge}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: team}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: edge}
spec: {ports: [{name: http, port: 80}]}
---
"""


def virtual_service(name: str, namespace: str, spec: str) -> str:
    metadata = f"metadata: {{name: {name}, namespace: {namespace}}}"
    return f"apiVersion: networking.istio.io/v1\nkind: VirtualService\n{metadata}\nspec: {{{spec}}}\n---\n"


def made(root: str, leaf: str, more: str = "") -> tuple[list[Route], list[str]]:
    """The routes of a root's one entry, delegated to `team/leaf`, and the codes of all diagnostics."""
    hosts = "hosts: ['*'], gateways: [edge], http: "
    texts = virtual_service("root", "edge", f"{hosts}[{{delegate: {{name: leaf, namespace: team}}, {root}}}]")
    view, notes = seen(GATEWAY + texts + virtual_service("leaf", "team", f"http: [{leaf}]{more}"))
    [host] = next(iter(view.route_tables.values())).virtual_hosts
    return list(host.routes), [note.code for note in notes]


LEAF = "route: [{destination: {host: web}}]"


def uri(kind: str, value: str) -> str:
    return f"match: [{{uri: {{{kind}: {value}}}}}]"


WITHIN = {
    "no condition of the root": ("", uri("prefix", "/a"), "/a"),
    "no condition of the delegate": (uri("prefix", "/a"), "", "/a"),
    "a longer prefix": (uri("prefix", "/a"), uri("prefix", "/a/b"), "/a/b"),
    "an exact path within a prefix": (uri("prefix", "/a"), uri("exact", "/a/b"), "/a/b"),
    "the same expression": (uri("regex", "/a.*"), uri("regex", "/a.*"), "/a.*"),
}


@pytest.mark.parametrize(("root", "leaf", "path"), WITHIN.values(), ids=WITHIN)
def test_a_condition_of_the_delegate_lies_within_the_roots(root: str, leaf: str, path: str) -> None:
    routes, notes = made(root, f"{{{leaf}{', ' if leaf else ''}{LEAF}}}")
    assert [route.match.path.value for route in routes] == [path]
    assert notes == []


OUTSIDE = {
    "another prefix": (uri("prefix", "/a"), uri("prefix", "/b")),
    "a shorter prefix": (uri("prefix", "/a/b"), uri("prefix", "/a")),
    "a prefix where the root wants one path": (uri("exact", "/a"), uri("prefix", "/a")),
    "an expression within a prefix": (uri("prefix", "/a"), uri("regex", "/a.*")),
    "another method": ("match: [{method: {exact: GET}}]", "match: [{method: {exact: PUT}}]"),
    "another header": ("match: [{headers: {x: {exact: a}}}]", "match: [{headers: {x: {exact: b}}}]"),
    "another exception": ("match: [{withoutHeaders: {x: {exact: a}}}]", "match: [{withoutHeaders: {x: {exact: b}}}]"),
    "another port": ("match: [{port: 8080}]", "match: [{port: 9090}]"),
    "another gateway": ("match: [{gateways: [edge]}]", "match: [{gateways: [mesh]}]"),
    "another label": ("match: [{sourceLabels: {a: b}}]", "match: [{sourceLabels: {a: c}}]"),
    "another namespace": ("match: [{sourceNamespace: a}]", "match: [{sourceNamespace: b}]"),
}


@pytest.mark.parametrize(("root", "leaf"), OUTSIDE.values(), ids=OUTSIDE)
def test_a_condition_outside_of_the_roots_is_left_out_and_named(root: str, leaf: str) -> None:
    routes, notes = made(root, f"{{{leaf}, {LEAF}}}")
    assert (routes, notes) == ([], ["XDS4023"])


def test_conditions_of_both_are_put_together() -> None:
    [route], _ = made(
        "match: [{uri: {prefix: /a}, headers: {x: {exact: '1'}}}]", f"{{match: [{{headers: {{z: {{}}}}}}], {LEAF}}}"
    )
    assert route.match.path.value == "/a"
    assert [header.name for header in route.match.headers] == ["x", "z"]


def test_each_condition_goes_with_each_where_they_fit() -> None:
    root = "match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}]"
    routes, notes = made(root, f"{{match: [{{uri: {{prefix: /a/1}}}}, {{uri: {{prefix: /b/1}}}}], {LEAF}}}")
    assert [route.match.path.value for route in routes] == ["/a/1", "/b/1"]
    assert notes == []


def test_what_the_delegate_does_not_say_is_said_by_the_root() -> None:
    root = "name: root, timeout: 1s, mirror: {host: web}, rewrite: {uri: /x}, retries: {attempts: 0}"
    [first, second], _ = made(
        root, f"{{name: leaf, match: [{{uri: {{prefix: /a}}}}], timeout: 2s, {LEAF}}}, {{{LEAF}}}"
    )
    assert isinstance(first.action, Forward)
    assert isinstance(second.action, Forward)
    assert (first.name, second.name) == ("root-leaf", "root")
    assert first.action.timeout
    assert second.action.timeout
    assert (first.action.timeout.nanoseconds, second.action.timeout.nanoseconds) == (2 * 10**9, 10**9)
    assert first.action.retry is second.action.retry is None
    assert first.action.rewrite == second.action.rewrite
    # A short name means a service beside the VirtualService that says it.
    assert first.action.destinations[0].backend == "outbound|80||web.team.svc.cluster.local"
    assert first.action.mirrors[0].backend == "outbound|80||web.edge.svc.cluster.local"


BROKEN = {
    "is not there": ("name: nobody, namespace: team", "", "XDS4022"),
    "has hosts": ("name: leaf, namespace: team", ", hosts: [a]", "XDS4022"),
    "is not exported": ("name: leaf, namespace: team", ", exportTo: ['.']", "XDS4022"),
}


@pytest.mark.parametrize(("delegate", "more", "code"), BROKEN.values(), ids=BROKEN)
def test_where_the_delegate_cannot_answer_the_requests_go_nowhere_else(delegate: str, more: str, code: str) -> None:
    entry = f"{{match: [{{uri: {{prefix: /a}}}}], delegate: {{{delegate}}}}}"
    root = virtual_service("root", "edge", f"hosts: ['*'], gateways: [edge], http: [{entry}]")
    view, notes = seen(GATEWAY + root + virtual_service("leaf", "team", f"http: [{{{LEAF}}}]{more}"))
    [route] = next(iter(view.route_tables.values())).virtual_hosts[0].routes
    assert route.match.path.value == "/a"
    assert isinstance(route.action, Respond)
    assert route.action.status == 500
    assert code in [note.code for note in notes]


def test_a_delegate_leaves_nothing_to_others() -> None:
    [route], notes = made("", "{delegate: {name: leaf}}")
    assert isinstance(route.action, Respond)
    assert notes == ["XDS4022"]
