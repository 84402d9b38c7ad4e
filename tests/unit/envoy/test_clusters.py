"""Backends as clusters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.envoy_config import as_dict
from tests.unit.envoy.full import CONNECTIONS, DNS_ENDPOINTS, backend, balanced, seconds
from tests.unit.envoy.shapes import picked
from xds_server.envoy.clusters import cluster
from xds_server.envoy.resource import ENDPOINT, SECRET
from xds_server.mesh.model import (
    Algorithm,
    Backend,
    BackendPolicy,
    ClientTLS,
    Connections,
    Discovery,
    Keepalive,
    Outlier,
    Protocol,
    RetryBudget,
    Warmup,
)

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NO_LIMIT = 4294967295


def connected(**fields: Any) -> BackendPolicy:
    return BackendPolicy(connections=Connections(**fields))


def options(**fields: Any) -> dict[str, Any]:
    return {"typedExtensionProtocolOptions": {OPTIONS: fields}}


CASES: dict[str, tuple[Backend, dict[str, Any]]] = {
    "endpoints come over the same stream, by the name of the cluster": (
        backend("a"),
        {
            "type": "EDS",
            "edsClusterConfig": {"edsConfig": {"ads": {}, "resourceApiVersion": "V3"}, "serviceName": None},
            "loadAssignment": None,
        },
    ),
    "the defaults are Istio's: least request, 10 s to connect, no limit": (
        backend("a"),
        {
            "lbPolicy": "LEAST_REQUEST",
            "connectTimeout": "10s",
            "circuitBreakers": {
                "thresholds": [
                    {
                        "maxConnections": NO_LIMIT,
                        "maxPendingRequests": NO_LIMIT,
                        "maxRequests": NO_LIMIT,
                        "maxRetries": NO_LIMIT,
                        "trackRemaining": True,
                        "retryBudget": None,
                    }
                ]
            },
            "outlierDetection": None,
            "commonLbConfig": None,
            "typedExtensionProtocolOptions": None,
            "transportSocket": None,
            "upstreamConnectionOptions": None,
        },
    ),
    "names are resolved by the DNS extension, with Istio's figures": (
        backend("a", discovery=Discovery.DNS, fixed=DNS_ENDPOINTS[:1]),
        {
            "type": None,
            "clusterType": {
                "name": "envoy.clusters.dns",
                "typedConfig": {
                    "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
                    "dnsRefreshRate": "60s",
                    "respectDnsTtl": True,
                    "dnsFailureRefreshRate": {"baseInterval": "1s", "maxInterval": "10s"},
                    "dnsJitter": "0.100s",
                    "dnsLookupFamily": "V4_PREFERRED",
                    "allAddressesInSingleEndpoint": None,
                },
            },
            "edsClusterConfig": None,
            "loadAssignment": {
                "clusterName": "a",
                "endpoints": [
                    {
                        "lbEndpoints": [
                            {"endpoint": {"address": {"socketAddress": {"address": "a.example.com", "portValue": 443}}}}
                        ]
                    }
                ],
            },
        },
    ),
    "round-robin DNS is one endpoint with all its addresses": (
        backend("a", discovery=Discovery.DNS_ROUND_ROBIN, fixed=DNS_ENDPOINTS[:1]),
        {"clusterType": {"typedConfig": {"allAddressesInSingleEndpoint": True}}},
    ),
    "the original destination leaves nothing to balance": (
        backend("a", discovery=Discovery.ORIGINAL_DESTINATION),
        {"type": "ORIGINAL_DST", "lbPolicy": "CLUSTER_PROVIDED", "edsClusterConfig": None},
    ),
    "passthrough wins over the discovery of the service": (
        backend("a", balanced(Algorithm.PASSTHROUGH)),
        {"type": "ORIGINAL_DST", "lbPolicy": "CLUSTER_PROVIDED", "edsClusterConfig": None},
    ),
    "a ring has its size": (
        backend("a", balanced(Algorithm.RING_HASH, 2048)),
        {"lbPolicy": "RING_HASH", "ringHashLbConfig": {"minimumRingSize": "2048"}},
    ),
    "a table of no size has Envoy's": (
        backend("a", balanced(Algorithm.MAGLEV)),
        {"lbPolicy": "MAGLEV", "maglevLbConfig": None},
    ),
    "a new endpoint warms up": (
        backend("a", balanced(Algorithm.ROUND_ROBIN, warmup=Warmup(seconds(60), 20.0, 2.0))),
        {
            "lbPolicy": None,  # ROUND_ROBIN is 0
            "roundRobinLbConfig": {
                "slowStartConfig": {
                    "slowStartWindow": "60s",
                    "minWeightPercent": {"value": 20.0},
                    "aggression": {"defaultValue": 2.0},
                }
            },
        },
    ),
    "limits and keepalive are those of the pool, in whole seconds": (
        backend("a", BackendPolicy(connections=CONNECTIONS, retry_budget=RetryBudget(20.0))),
        {
            "connectTimeout": "3s",
            "circuitBreakers": {
                "thresholds": [
                    {
                        "maxConnections": 100,
                        "maxPendingRequests": 10,
                        "maxRequests": 20,
                        "maxRetries": 4,
                        "retryBudget": {"budgetPercent": {"value": 20.0}, "minRetryConcurrency": 3},
                    }
                ]
            },
            "upstreamConnectionOptions": {
                "tcpKeepalive": {"keepaliveProbes": 3, "keepaliveTime": 30, "keepaliveInterval": 8}
            },
        },
    ),
    "keepalive without figures is on with the system's": (
        backend("a", connected(keepalive=Keepalive())),
        {"upstreamConnectionOptions": {"tcpKeepalive": {}}},
    ),
    "zero consecutive errors switch a check off": (
        backend("a", BackendPolicy(outlier=Outlier(consecutive_5xx=0, consecutive_gateway=3))),
        {
            "outlierDetection": {
                "consecutive5xx": None,
                "enforcingConsecutive5xx": 0,
                "consecutiveGatewayFailure": 3,
                "enforcingConsecutiveGatewayFailure": 100,
                "enforcingConsecutiveLocalOriginFailure": None,
                "enforcingSuccessRate": 0,
            },
            "commonLbConfig": {"healthyPanicThreshold": {}},
        },
    ),
    "a port of HTTP/2 is spoken to in HTTP/2": (
        backend("a", protocol=Protocol.GRPC),
        options(explicitHttpConfig={"http2ProtocolOptions": {}}),
    ),
    "HTTP/1.1 can be upgraded": (
        backend("a", connected(upgrade_to_http2=True, max_concurrent_streams=9)),
        options(explicitHttpConfig={"http2ProtocolOptions": {"maxConcurrentStreams": 9}}),
    ),
    "a refused upgrade changes nothing for a port of HTTP/2": (
        backend("a", connected(upgrade_to_http2=False), Protocol.HTTP2),
        options(explicitHttpConfig={"http2ProtocolOptions": {}}),
    ),
    "the protocol of the client can be kept": (
        backend("a", connected(use_client_protocol=True), Protocol.HTTP2),
        options(
            explicitHttpConfig=None,
            useDownstreamProtocolConfig={"httpProtocolOptions": {}, "http2ProtocolOptions": {}},
        ),
    ),
    "an unknown protocol is HTTP/1.1, if it is HTTP": (
        backend("a", protocol=Protocol.AUTO),
        {"typedExtensionProtocolOptions": None},
    ),
    "limits of HTTP connections need a version beside them": (
        backend("a", connected(max_requests_per_connection=7, max_duration=seconds(60), tcp_idle_timeout=seconds(9))),
        options(
            commonHttpProtocolOptions={
                "idleTimeout": "9s",
                "maxConnectionDuration": "60s",
                "maxRequestsPerConnection": 7,
            },
            explicitHttpConfig={"httpProtocolOptions": {}},
        ),
    ),
    "HTTP's own idle time-out wins": (
        backend("a", connected(http_idle_timeout=seconds(0), tcp_idle_timeout=seconds(9))),
        options(commonHttpProtocolOptions={"idleTimeout": "0s"}),
    ),
    "TLS without an SNI goes by the host of the request": (
        backend("a", BackendPolicy(tls=ClientTLS())),
        options(upstreamHttpProtocolOptions={"autoSni": True, "autoSanValidation": True}),
    ),
    "TLS with given names goes by them": (
        backend("a", BackendPolicy(tls=ClientTLS(subject_alt_names=("b",)))),
        options(upstreamHttpProtocolOptions={"autoSni": True, "autoSanValidation": None}),
    ),
    "unverified TLS goes by no name": (
        backend("a", BackendPolicy(tls=ClientTLS(verify=False))),
        options(upstreamHttpProtocolOptions={"autoSni": True, "autoSanValidation": None}),
    ),
    "the metadata says which service and subset it is": (
        backend("a", subset="v1", external=True),
        {
            "metadata": {
                "filterMetadata": {"istio": {"services": [{"host": "a.example.com"}], "subset": "v1", "external": True}}
            }
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_backend_becomes_a_cluster(case: str) -> None:
    value, expected = CASES[case]
    assert picked(as_dict(cluster(value)), expected) == expected


REFERENCES = {
    "its endpoints": (backend("a"), {(ENDPOINT, "a")}),
    "no endpoints, when it resolves names": (backend("a", discovery=Discovery.DNS, fixed=DNS_ENDPOINTS), set()),
    "its certificate and its authorities": (
        backend("a", BackendPolicy(tls=ClientTLS(certificate="me", trust="them"))),
        {(ENDPOINT, "a"), (SECRET, "me"), (SECRET, "them")},
    ),
    "no authorities, when it verifies nothing": (
        backend("a", BackendPolicy(tls=ClientTLS(trust="them", verify=False))),
        {(ENDPOINT, "a")},
    ),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_a_cluster_refers_to(case: str) -> None:
    value, expected = REFERENCES[case]
    assert set(cluster(value).references) == expected
