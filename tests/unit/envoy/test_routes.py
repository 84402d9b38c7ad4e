"""Route tables as route configurations."""

from __future__ import annotations

from typing import Any

import pytest

from tests.envoy_config import as_dict, message
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
    ROUTE_TABLES,
    at,
    forward,
    seconds,
    string,
)
from tests.unit.envoy.shapes import picked
from tests.unit.envoy.tables import first_route, route, table
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
    QueryMatch,
    Redirect,
    Respond,
    Route,
    RouteTable,
    VirtualHost,
)
from xds_server.mesh.origin import Origin


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


def test_the_joined_bytes_are_those_of_the_whole_message() -> None:
    for value in ROUTE_TABLES:
        resource, _ = route_configuration(value, no_memo)
        whole = message(resource)
        assert resource.body == whole.SerializeToString(deterministic=True)
        assert len(whole.virtual_hosts) == len(value.virtual_hosts)
