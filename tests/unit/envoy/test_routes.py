"""Route tables as route configurations."""

from __future__ import annotations

from typing import Any

import pytest

from tests.envoy_config import as_dict, message
from tests.objects import named
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
from tests.unit.envoy.tables import configured, first_route, route, table
from xds_server.envoy import routes
from xds_server.envoy.build import build
from xds_server.envoy.resource import CLUSTER, ROUTE
from xds_server.envoy.routes import route_configuration, written
from xds_server.incremental import Pieces
from xds_server.memo import Generations
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
    View,
    VirtualHost,
)


def test_the_table_has_the_settings_of_istio() -> None:
    resource, _ = configured(table(require_tls=True))
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
    resource, _ = configured(RouteTable("t", (), MORE, ports_in_domains=True))
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
    resource, _ = configured(table(route(Match(), FORWARD), route(Match(), Respond(200))))
    assert tuple(sorted(resource.references)) == ((CLUSTER, "idle"), (CLUSTER, "limits"), (CLUSTER, "subset"))


def test_a_table_comes_from_what_made_it_and_its_routes() -> None:
    resource, _ = configured(table(route(Match(), Respond(200))))
    assert tuple(resource.origins) == (*MORE, ORIGIN)


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
    resource, bugs = configured(value)
    expected = [
        {"name": "broken", "domains": ["broken.com"], "routes": [{"directResponse": {"status": 503}}]},
        {"name": "whole", "domains": ["whole.com"], "routes": [{"route": {"cluster": "b"}}]},
    ]
    assert picked(as_dict(resource)["virtualHosts"], expected) == expected
    assert [(bug.code, bug.ref) for bug in bugs] == [("XDS1010", ORIGIN.ref)]


def test_hosts_that_did_not_change_are_not_built_again() -> None:
    memo = Generations()
    first = tuple(VirtualHost(name, (name,), (route(Match(), forward("b")),)) for name in ("a.com", "b.com"))
    broken = VirtualHost("broken", ("broken.com",), (route(Match(), Redirect(code=299)),))  # is named when it is built

    def made(*pieces: tuple[VirtualHost, ...]) -> tuple[list[str], int]:
        resources, bugs = build(named(View(route_tables=(RouteTable("t", Pieces(pieces), MORE),))), memo)
        memo.turn()
        names = [host["name"] for host in as_dict(resources.by_type[ROUTE]["t"])["virtualHosts"]]
        return names, len(bugs)

    assert made(first, (broken,)) == (["a.com", "b.com", "broken"], 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routes, "virtual_host", None)  # whoever calls it now hits a bug
        assert made(first) == (["a.com", "b.com"], 0)
        changed = (VirtualHost("c.com", ("c.com",), first[0].routes),)
        assert made(first, changed) == (["a.com", "b.com", "c.com"], 1)


def test_the_version_does_not_depend_on_the_pieces() -> None:
    hosts = tuple(VirtualHost(name, (name,), (route(Match(), forward("b")),)) for name in ("a.com", "b.com"))
    parts = [tuple(written(piece, False) for piece in pieces) for pieces in ((hosts,), ((hosts[0],), (hosts[1],)))]
    one, two = (route_configuration(RouteTable("t", hosts, MORE), each)[0] for each in parts)
    assert (one.version, one.body) == (two.version, two.body)


def test_the_joined_bytes_are_those_of_the_whole_message() -> None:
    for value in ROUTE_TABLES:
        resource, _ = configured(value)
        whole = message(resource)
        assert resource.body == whole.SerializeToString(deterministic=True)
        assert len(whole.virtual_hosts) == len(value.virtual_hosts)
