"""What is done with a request that matched."""

from __future__ import annotations

from typing import Any

import pytest

from tests.envoy_config import as_dict
from tests.unit.envoy.full import (
    FORWARD,
    MORE,
    PATH_PREFIX,
    PREFIX,
    REGEX,
    at,
    forward,
    seconds,
)
from tests.unit.envoy.shapes import picked
from tests.unit.envoy.tables import configured, first_route, route
from xds_server.mesh.model import (
    Destination,
    Forward,
    HeaderEdits,
    Match,
    Mirror,
    Redirect,
    Retry,
    Rewrite,
    RouteTable,
    VirtualHost,
)


def retried(retry: Retry) -> Forward:
    return forward("b", retry=retry)


FORWARDS: dict[str, tuple[Forward, dict[str, Any]]] = {
    "to one backend, without a time limit, and without retries": (
        forward("b"),
        {
            "cluster": "b",
            "weightedClusters": None,
            "timeout": "0s",
            "maxStreamDuration": None,
            "retryPolicy": None,
        },
    ),
    "within a time": (
        Forward((Destination("b"),), timeout=seconds(1.5)),
        {"timeout": "1.500s", "maxStreamDuration": None},
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


def test_a_client_that_is_no_proxy_is_told_its_time_in_its_own_word() -> None:
    routes = (route(Match(), Forward((Destination("b"),), timeout=seconds(1.5))),)
    value = RouteTable("t", (VirtualHost("v", ("a.example.com",), routes),), MORE, in_client=True)
    resource, _ = configured(value)
    action = as_dict(resource)["virtualHosts"][0]["routes"][0]["route"]
    assert action["maxStreamDuration"] == {"grpcTimeoutHeaderMax": "1.500s"}
    assert "timeout" not in action
