"""Route tables as route configurations."""

from __future__ import annotations

from typing import Any

import pytest

from tests.envoy_config import as_dict
from tests.unit.envoy.full import (
    CORS,
    EXACT,
    FORWARD,
    MATCH,
    MORE,
    ORIGIN,
    PATH_PREFIX,
    PREFIX,
    PRESENT,
    REGEX,
    at,
    forward,
    seconds,
    string,
)
from tests.unit.envoy.shapes import picked
from xds_server.diagnostics import ObjectRef
from xds_server.envoy.resource import CLUSTER
from xds_server.envoy.routes import route_configuration
from xds_server.memo import Generations, no_memo
from xds_server.mesh.model import (
    Cors,
    Destination,
    Fault,
    Forward,
    HeaderEdits,
    HeaderMatch,
    Match,
    Mirror,
    QueryMatch,
    Redirect,
    Respond,
    Retry,
    Rewrite,
    Route,
    RouteTable,
    VirtualHost,
)
from xds_server.mesh.origin import Origin


def route(match: Match, action: Forward | Redirect | Respond, **more: Any) -> Route:
    return Route("r", match, action, ORIGIN, **more)


def table(*routes: Route, **host: Any) -> RouteTable:
    return RouteTable("t", (VirtualHost("v", ("a.example.com",), routes, **host),), MORE)


def first_route(value: Route) -> dict[str, Any]:
    resource, bugs = route_configuration(table(value), no_memo)
    assert bugs == ()
    found: dict[str, Any] = as_dict(resource)["virtualHosts"][0]["routes"][0]
    return found


def test_the_table_has_the_settings_of_istio() -> None:
    resource, _ = route_configuration(table(require_tls=True), no_memo)
    assert as_dict(resource) == {
        "name": "t",
        "validateClusters": False,
        "ignorePortInHostMatching": True,
        "maxDirectResponseBodySizeBytes": 1048576,
        "virtualHosts": [
            {"name": "v", "domains": ["a.example.com"], "requireTls": "ALL", "includeRequestAttemptCount": True}
        ],
    }


def test_the_port_of_a_host_counts_when_it_is_asked_for() -> None:
    resource, _ = route_configuration(RouteTable("t", (), MORE, ports_in_domains=True), no_memo)
    assert "ignorePortInHostMatching" not in as_dict(resource)


MATCHES: dict[str, tuple[Match, dict[str, Any]]] = {
    "everything": (Match(), {"prefix": "/", "caseSensitive": None}),
    "a path": (at(EXACT, "/a"), {"path": "/a"}),
    "a text at the start": (at(PREFIX, "/a/"), {"prefix": "/a/"}),
    "whole segments, without the last slash": (at(PATH_PREFIX, "/a/"), {"pathSeparatedPrefix": "/a"}),
    "no segments, which is everything": (at(PATH_PREFIX, "/"), {"prefix": "/"}),
    "a regex": (at(REGEX, "/a+"), {"safeRegex": {"regex": "/a+"}}),
    "a path in any case": (at(EXACT, "/a", True), {"path": "/a", "caseSensitive": False}),
    "a regex in any case": (at(REGEX, "/a+", True), {"safeRegex": {"regex": "(?i)/a+"}}),
    "headers and their absence": (
        MATCH,
        {
            "headers": [
                {"name": ":method", "stringMatch": {"exact": "GET"}},
                {
                    "name": "x-user",
                    "stringMatch": {"safeRegex": {"regex": "a+"}},
                    "invertMatch": True,
                    "treatMissingHeaderAsEmpty": True,
                },
                {"name": "x-here", "presentMatch": True},
                {"name": "x-any", "presentMatch": True},
                {"name": "x-case", "stringMatch": {"prefix": "Ab", "ignoreCase": True}},
            ]
        },
    ),
    "no such header at all": (
        Match(headers=(HeaderMatch("x", string(PRESENT), invert=True),)),
        {"headers": [{"name": "x", "presentMatch": True, "invertMatch": True, "treatMissingHeaderAsEmpty": None}]},
    ),
    "query parameters": (
        Match(query=(QueryMatch("a", string(REGEX, "b")), QueryMatch("c", string(PRESENT)))),
        {
            "queryParameters": [
                {"name": "a", "stringMatch": {"safeRegex": {"regex": "b"}}},
                {"name": "c", "presentMatch": True},
            ]
        },
    ),
}


@pytest.mark.parametrize("case", MATCHES)
def test_a_route_matches(case: str) -> None:
    match, expected = MATCHES[case]
    assert picked(first_route(route(match, Respond(200)))["match"], expected) == expected


def retried(retry: Retry) -> Forward:
    return forward("b", retry=retry)


FORWARDS: dict[str, tuple[Forward, dict[str, Any]]] = {
    "to one backend, without a time limit, and without retries": (
        forward("b"),
        {
            "cluster": "b",
            "weightedClusters": None,
            "timeout": "0s",
            "maxStreamDuration": {"grpcTimeoutHeaderMax": "0s"},
            "retryPolicy": None,
        },
    ),
    "within a time": (
        Forward((Destination("b"),), timeout=seconds(1.5)),
        {"timeout": "1.500s", "maxStreamDuration": {"grpcTimeoutHeaderMax": "1.500s"}},
    ),
    "by weight, but not to who gets nothing": (
        Forward((Destination("b", 20), Destination("c", 80), Destination("d", 0))),
        {
            "weightedClusters": {
                "clusters": [{"name": "b", "weight": 20, "hostRewriteLiteral": None}, {"name": "c", "weight": 80}]
            }
        },
    ),
    "to the only one that gets anything": (
        Forward((Destination("b", 100), Destination("c", 0))),
        {"cluster": "b", "weightedClusters": None},
    ),
    "to one backend with headers of its own": (
        Forward((Destination("b", response_headers=HeaderEdits(remove=("x",)), host_rewrite="b.com"),)),
        {
            "cluster": None,
            "weightedClusters": {
                "clusters": [
                    {"name": "b", "weight": 1, "responseHeadersToRemove": ["x"], "hostRewriteLiteral": "b.com"}
                ]
            },
        },
    ),
    "again, on another host, after a pause": (
        retried(Retry(2, ("5xx", "reset"), per_try_timeout=seconds(2), backoff=seconds(0.025))),
        {
            "retryPolicy": {
                "retryOn": "5xx,reset",
                "numRetries": 2,
                "perTryTimeout": "2s",
                "retryBackOff": {"baseInterval": "0.025s", "maxInterval": None},
                "retryHostPredicate": [{"name": "envoy.retry_host_predicates.previous_hosts"}],
                "hostSelectionRetryMaxAttempts": "5",
                "retryPriority": None,
                "retriableStatusCodes": None,
            }
        },
    ),
    "again, for some codes, wherever it is": (
        retried(Retry(1, ("reset",), (503,), avoid_previous_hosts=False, other_localities=True)),
        {
            "retryPolicy": {
                "retryOn": "reset,retriable-status-codes",
                "retriableStatusCodes": [503],
                "retryHostPredicate": None,
                "retryPriority": {
                    "name": "envoy.retry_priorities.previous_priorities",
                    "typedConfig": {"updateFrequency": 2},
                },
            }
        },
    ),
    "again, without saying a condition twice": (
        retried(Retry(1, ("retriable-status-codes",), (503,))),
        {"retryPolicy": {"retryOn": "retriable-status-codes"}},
    ),
    "never again": (retried(Retry(0, ("5xx",))), {"retryPolicy": None}),
    "with copies, but not of no request": (
        Forward((Destination("b"),), mirrors=(Mirror("c", 0.01), Mirror("d", 0.0))),
        {
            "requestMirrorPolicies": [
                {
                    "cluster": "c",
                    "runtimeFraction": {"defaultValue": {"numerator": 100, "denominator": "MILLION"}},
                    "traceSampled": False,
                }
            ]
        },
    ),
    "always to the same endpoint": (
        FORWARD,
        {
            "hashPolicy": [
                {"header": {"headerName": "x-user"}},
                {
                    "cookie": {
                        "name": "session",
                        "path": "/",
                        "ttl": "0s",
                        "attributes": [{"name": "SameSite", "value": "Lax"}],
                    }
                },
                {"queryParameter": {"name": "user"}},
                {"connectionProperties": {"sourceIp": True}},
            ]
        },
    ),
    "with another host": (forward("b", Rewrite(host="c.com")), {"hostRewriteLiteral": "c.com"}),
}


@pytest.mark.parametrize("case", FORWARDS)
def test_a_route_forwards(case: str) -> None:
    action, expected = FORWARDS[case]
    assert picked(first_route(route(Match(), action))["route"], expected) == expected


REGEX_OF_ROOT = {"pattern": {"regex": r"^/a\.b/?"}, "substitution": "/"}
REWRITES: dict[str, tuple[Match, Rewrite, dict[str, Any]]] = {
    "text by text": (
        at(PREFIX, "/a"),
        Rewrite(prefix="/"),
        {"prefixRewrite": "/", "regexRewrite": None, "hostRewriteLiteral": None},
    ),
    "segments by segments": (at(PATH_PREFIX, "/a"), Rewrite(prefix="/b/"), {"prefixRewrite": "/b"}),
    "segments by nothing": (
        at(PATH_PREFIX, "/a.b"),
        Rewrite(prefix="/"),
        {"prefixRewrite": None, "regexRewrite": REGEX_OF_ROOT},
    ),
    "nothing by segments": (at(PATH_PREFIX, "/"), Rewrite(prefix="/b"), {"prefixRewrite": "/b/"}),
    "all of it": (
        at(PREFIX, "/"),
        Rewrite(path="/b\\1"),
        {"regexRewrite": {"pattern": {"regex": "^/.*"}, "substitution": "/b\\\\1"}},
    ),
    "by groups": (
        at(REGEX, "/a(.*)"),
        Rewrite(regex="^/a(.*)", substitution=r"\1"),
        {"regexRewrite": {"pattern": {"regex": "^/a(.*)"}, "substitution": r"\1"}},
    ),
}


@pytest.mark.parametrize("case", REWRITES)
def test_a_path_is_rewritten(case: str) -> None:
    match, rewrite, expected = REWRITES[case]
    assert picked(first_route(route(match, forward("b", rewrite)))["route"], expected) == expected


REDIRECTS: dict[str, tuple[Match, Redirect, dict[str, Any]]] = {
    "to another scheme, permanently": (
        Match(),
        Redirect(scheme="https"),
        {"schemeRedirect": "https", "responseCode": None, "hostRedirect": None, "portRedirect": None},
    ),
    "to another place": (
        Match(),
        Redirect(302, host="b.com", port=8443, path="/b"),
        {"responseCode": "FOUND", "hostRedirect": "b.com", "portRedirect": 8443, "pathRedirect": "/b"},
    ),
    "to another prefix": (at(PATH_PREFIX, "/a"), Redirect(308, prefix="/b/"), {"prefixRewrite": "/b"}),
    "to the root": (at(PATH_PREFIX, "/a.b"), Redirect(307, prefix="/"), {"regexRewrite": REGEX_OF_ROOT}),
}


@pytest.mark.parametrize("case", REDIRECTS)
def test_a_route_redirects(case: str) -> None:
    match, action, expected = REDIRECTS[case]
    assert picked(first_route(route(match, action))["redirect"], expected) == expected


ROUTES: dict[str, tuple[Route, dict[str, Any]]] = {
    "answers by itself": (
        route(Match(), Respond(503, b"no")),
        {"directResponse": {"status": 503, "body": {"inlineBytes": "bm8="}}},
    ),
    "answers without a body": (route(Match(), Respond(204)), {"directResponse": {"status": 204, "body": None}}),
    "sets, adds and removes headers, and keeps an empty one": (
        route(
            Match(),
            Respond(200),
            request_headers=HeaderEdits((("a", ""),), (("b", "1"),), ("c",)),
            response_headers=HeaderEdits(set=(("d", "2"),)),
        ),
        {
            "requestHeadersToAdd": [
                {
                    "header": {"key": "a"},
                    "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD",
                    "keepEmptyValue": True,
                },
                {"header": {"key": "b", "value": "1"}, "appendAction": None, "keepEmptyValue": None},
            ],
            "requestHeadersToRemove": ["c"],
            "responseHeadersToAdd": [
                {"header": {"key": "d", "value": "2"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD"}
            ],
            "responseHeadersToRemove": None,
        },
    ),
    "delays and aborts": (
        route(Match(), Respond(200), fault=Fault(seconds(0.5), 0.5, 429, None, 100.0)),
        {
            "typedPerFilterConfig": {
                "envoy.filters.http.fault": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                    "delay": {
                        "fixedDelay": "0.500s",
                        "percentage": {"numerator": 5000, "denominator": "MILLION"},
                    },
                    "abort": {
                        "httpStatus": 429,
                        "grpcStatus": None,
                        "percentage": {"numerator": 1000000, "denominator": "MILLION"},
                    },
                },
                "envoy.filters.http.cors": None,
            }
        },
    ),
    "aborts gRPC, even with the status 0": (
        route(Match(), Respond(200), fault=Fault(grpc_status=0, abort_percent=1.0)),
        {"typedPerFilterConfig": {"envoy.filters.http.fault": {"delay": None, "abort": {"grpcStatus": 0}}}},
    ),
    "allows other origins": (
        route(Match(), Respond(200), cors=CORS),
        {
            "typedPerFilterConfig": {
                "envoy.filters.http.cors": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
                    "allowOriginStringMatch": [
                        {"exact": "https://a.example.com"},
                        {"prefix": "https://b."},
                        {"safeRegex": {"regex": r"(?i)https://.*\.c"}},
                        {"safeRegex": {"regex": ".*"}},
                    ],
                    "allowMethods": "GET,POST",
                    "allowHeaders": "x-a,x-b",
                    "exposeHeaders": "x-c",
                    "maxAge": "600",
                    "allowCredentials": True,
                    "filterEnabled": {"defaultValue": {"numerator": 100}},
                    "forwardNotMatchingPreflights": False,
                }
            }
        },
    ),
    "leaves out of CORS what nobody said": (
        route(Match(), Respond(200), cors=Cors()),
        {
            "typedPerFilterConfig": {
                "envoy.filters.http.cors": {
                    "allowMethods": None,
                    "maxAge": None,
                    "allowCredentials": None,
                    "forwardNotMatchingPreflights": True,
                }
            }
        },
    ),
}


@pytest.mark.parametrize("case", ROUTES)
def test_a_route(case: str) -> None:
    value, expected = ROUTES[case]
    assert picked(first_route(value), expected) == expected


def test_a_table_refers_to_the_clusters_that_get_requests_or_copies() -> None:
    resource, _ = route_configuration(table(route(Match(), FORWARD), route(Match(), Respond(200))), no_memo)
    assert resource.references == ((CLUSTER, "idle"), (CLUSTER, "limits"), (CLUSTER, "subset"))


def test_a_table_comes_from_what_made_it_and_its_routes() -> None:
    resource, _ = route_configuration(table(route(Match(), Respond(200))), no_memo)
    assert resource.origins == (*MORE, ORIGIN)


@pytest.mark.parametrize(
    "broken",
    [
        route(Match(), Redirect(code=299)),
        route(Match(), Forward((Destination("b", 0),))),
        route(at(PRESENT, ""), Respond(200)),
    ],
    ids=["an unknown redirect", "nowhere to go", "a path that is only present"],
)
def test_a_bug_in_one_host_stops_that_host_and_no_other(broken: Route) -> None:
    whole = VirtualHost("whole", ("whole.com",), (route(Match(), forward("b")),))
    value = RouteTable("t", (VirtualHost("broken", ("broken.com",), (broken,)), whole), MORE)
    resource, bugs = route_configuration(value, no_memo)
    expected = [
        {"name": "broken", "domains": ["broken.com"], "routes": [{"directResponse": {"status": 503}}]},
        {"name": "whole", "domains": ["whole.com"], "routes": [{"route": {"cluster": "b"}}]},
    ]
    assert picked(as_dict(resource)["virtualHosts"], expected) == expected
    assert [(bug.code, bug.ref) for bug in bugs] == [("XDS1010", ORIGIN.ref)]


def test_a_host_that_did_not_change_is_not_built_again() -> None:
    memo = Generations()
    hosts = [VirtualHost(name, (name,), (route(Match(), forward("b")),)) for name in ("a.com", "b.com")]
    route_configuration(RouteTable("t", tuple(hosts), MORE), memo)
    before = len(memo)
    origin = Origin(ObjectRef("", "Service", "default", "new"))
    changed = VirtualHost("b.com", ("b.com",), (Route("r", Match(), forward("c"), origin),))
    resource, _ = route_configuration(RouteTable("t", (hosts[0], changed), MORE), memo)
    assert len(memo) == before + 1
    assert resource.references == ((CLUSTER, "b"), (CLUSTER, "c"))
