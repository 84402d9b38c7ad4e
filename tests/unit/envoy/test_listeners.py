"""Listeners and their filter chains."""

from __future__ import annotations

from typing import Any

import pytest

from tests.envoy_config import as_dict
from tests.unit.envoy.full import HTTP, MORE, ORIGIN, TCP, seconds
from tests.unit.envoy.shapes import picked
from xds_server.envoy.listeners import api_listener, listener
from xds_server.envoy.resource import CLUSTER, ROUTE, SECRET
from xds_server.mesh.model import (
    ApiListener,
    Chain,
    ChainMatch,
    Destination,
    Direction,
    Http,
    Listener,
    ServerTLS,
    Tcp,
)

TLS = ServerTLS(("mine",))
TLS_INSPECTOR = {"name": "envoy.filters.listener.tls_inspector"}
HTTP_INSPECTOR = {"name": "envoy.filters.listener.http_inspector"}
DETECTED = {"applicationProtocols": ["http/1.0", "http/1.1", "h2c"]}


def listening(*chains: Chain, default: Chain | None = None, address: str = "0.0.0.0") -> Listener:
    return Listener("a", address, 8080, Direction.OUTBOUND, chains, MORE, default)


def chain(match: ChainMatch, traffic: Http | Tcp = TCP, tls: ServerTLS | None = None) -> Chain:
    return Chain("c", match, traffic, tls, (ORIGIN,))


ALWAYS = ChainMatch()
SNI = ChainMatch(server_names=("A.example.com", "*.Example.org"))
DETECTS = ChainMatch(detected_http=True)

CASES: dict[str, tuple[Listener, dict[str, Any]]] = {
    "an address and a port": (
        listening(chain(ALWAYS)),
        {
            "name": "a",
            "address": {"socketAddress": {"address": "0.0.0.0", "portValue": 8080}},
            "trafficDirection": "OUTBOUND",
            "listenerFilters": None,
            "listenerFiltersTimeout": None,
            "defaultFilterChain": None,
        },
    ),
    "a unix socket": (listening(chain(ALWAYS), address="/run/a"), {"address": {"pipe": {"path": "/run/a"}}}),
    "a chain that matches always matches nothing in particular": (
        listening(chain(ALWAYS)),
        {"filterChains": [{"name": "c", "filterChainMatch": None}]},
    ),
    "server names are in lower case, and need the ClientHello": (
        listening(chain(SNI, tls=TLS)),
        {
            "listenerFilters": [TLS_INSPECTOR],
            "filterChains": [
                {
                    "filterChainMatch": {
                        "serverNames": ["a.example.com", "*.example.org"],
                        "transportProtocol": "tls",
                    },
                    "transportSocket": {"name": "envoy.transport_sockets.tls"},
                }
            ],
        },
    ),
    "any server name is any TLS": (
        listening(chain(ChainMatch(server_names=("*", "a")))),
        {"filterChains": [{"filterChainMatch": {"serverNames": None, "transportProtocol": "tls"}}]},
    ),
    "addresses and ranges, as networks": (
        listening(chain(ChainMatch(destinations=("10.0.0.1", "10.1.2.3/16", "2001:db8::1")))),
        {
            "filterChains": [
                {
                    "filterChainMatch": {
                        "prefixRanges": [
                            {"addressPrefix": "10.0.0.1", "prefixLen": 32},
                            {"addressPrefix": "10.1.0.0", "prefixLen": 16},
                            {"addressPrefix": "2001:db8::1", "prefixLen": 128},
                        ]
                    }
                }
            ]
        },
    ),
    "detection waits as long as it takes, and lets through what it does not know": (
        listening(chain(DETECTS, HTTP), default=chain(ALWAYS)),
        {
            "listenerFilters": [HTTP_INSPECTOR],
            "listenerFiltersTimeout": "0s",
            "continueOnListenerFiltersTimeout": True,
            "filterChains": [{"filterChainMatch": {**DETECTED, "transportProtocol": None}}],
            "defaultFilterChain": {"name": "c", "filterChainMatch": None},
        },
    ),
    "beside TLS, detected HTTP is plain, and the rest is there for plain and other connections": (
        listening(chain(DETECTS, HTTP), chain(SNI), chain(ALWAYS)),
        {
            "listenerFilters": [TLS_INSPECTOR, HTTP_INSPECTOR],
            "filterChains": [
                {"filterChainMatch": {**DETECTED, "transportProtocol": "raw_buffer"}},
                {"filterChainMatch": {"transportProtocol": "tls"}},
                {"filterChainMatch": None},
                {"filterChainMatch": {"transportProtocol": "raw_buffer", "applicationProtocols": None}},
            ],
        },
    ),
    "connections with nowhere to go are closed": (
        listening(chain(ALWAYS, Tcp((), "closed"))),
        {"filterChains": [{"name": "c", "filters": None}]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_listener_has(case: str) -> None:
    value, expected = CASES[case]
    assert picked(as_dict(listener(value)), expected) == expected


def filter_of(traffic: Http | Tcp) -> dict[str, Any]:
    (only,) = as_dict(listener(listening(chain(ALWAYS, traffic))))["filterChains"][0]["filters"]
    config: dict[str, Any] = only["typedConfig"]
    return config


TRAFFIC: dict[str, tuple[Http | Tcp, dict[str, Any]]] = {
    "requests get their routes over the same stream": (
        Http("http.80", "stats"),
        {
            "statPrefix": "stats",
            "rds": {"routeConfigName": "http.80", "configSource": {"ads": {}, "resourceApiVersion": "V3"}},
            "routeConfig": None,
            "normalizePath": True,
            "streamIdleTimeout": "0s",
            "upgradeConfigs": [{"upgradeType": "websocket"}],
            "useRemoteAddress": False,
            "httpProtocolOptions": {"acceptHttp10": True},
            "forwardClientCertDetails": None,
            "requestHeadersTimeout": None,
        },
    ),
    "clients at the edge are not believed": (
        HTTP,
        {
            "useRemoteAddress": True,
            "httpProtocolOptions": None,
            "forwardClientCertDetails": "SANITIZE_SET",
            "setCurrentClientCertDetails": {"subject": True, "cert": True, "dns": True, "uri": True},
            "requestHeadersTimeout": "60s",
        },
    ),
    "the filters are in Istio's order": (
        HTTP,
        {
            "httpFilters": [
                {"name": "envoy.filters.http.fault"},
                {"name": "envoy.filters.http.cors"},
                {"name": "envoy.filters.http.router"},
            ]
        },
    ),
    "connections to one backend": (
        Tcp((Destination("b"), Destination("idle", 0)), "stats"),
        {"statPrefix": "stats", "cluster": "b", "weightedClusters": None, "idleTimeout": None, "hashPolicy": None},
    ),
    "connections shared by weight": (
        Tcp((Destination("b", 1), Destination("c", 3)), "stats", seconds(60), seconds(3600), True),
        {
            "cluster": None,
            "weightedClusters": {"clusters": [{"name": "b", "weight": 1}, {"name": "c", "weight": 3}]},
            "idleTimeout": "60s",
            "maxDownstreamConnectionDuration": "3600s",
            "hashPolicy": [{"sourceIp": {}}],
        },
    ),
}


@pytest.mark.parametrize("case", TRAFFIC)
def test_a_chain_passes_on(case: str) -> None:
    traffic, expected = TRAFFIC[case]
    assert picked(filter_of(traffic), expected) == expected


def test_a_listener_refers_to_routes_secrets_and_clusters_of_every_chain() -> None:
    value = listening(
        chain(ALWAYS, HTTP, TLS), default=chain(ALWAYS, Tcp((Destination("b"), Destination("c", 0)), "s"))
    )
    assert set(listener(value).references) == {(ROUTE, "http.8080"), (SECRET, "mine"), (CLUSTER, "b")}


def test_a_listener_comes_from_what_made_it_and_its_chains() -> None:
    assert listener(listening(chain(ALWAYS))).origins == (*MORE, ORIGIN)


def test_a_grpc_client_gets_the_routes_and_only_filters_that_it_knows() -> None:
    resource = api_listener(ApiListener("web:80", "web", MORE))
    expected = {
        "name": "web:80",
        "address": None,
        "apiListener": {
            "apiListener": {
                "rds": {"routeConfigName": "web", "configSource": {"ads": {}}},
                "httpFilters": [{"name": "envoy.filters.http.fault"}, {"name": "envoy.filters.http.router"}],
            }
        },
    }
    assert picked(as_dict(resource), expected) == expected
    assert resource.references == ((ROUTE, "web"),)
