"""A thousand random combinations of what the API allows: the real Envoy takes every one, and nothing is a bug."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import yaml

from tests.envoy_config import static_bootstrap, validate
from tests.objects import snapshot
from xds_server.mesh.proxy import EVERY_GATEWAY
from xds_server.translate import translate

TEXTS = ["a", "/a", "/a/", "b c", "x-y", "*", "é", "a,b", "%", "100%", r"\1", '"', "/a?b", "", "true"]
REGEXES = ["a+", "/a/.*", r"/v(\d+)/(.*)", "(?i)x", "[", "a|b", ".*", "(?=a)", "a{1001}", "*"]
HEADERS = ["x-a", "X-B", ":method", ":authority", "host", "bad name", "content-length", "x-c"]
VALUES = ["1", "", "%REQ(x)%", "%BOGUS%", "100%", "a\tb", "%PROTOCOL%", "50%%"]
TIMES = ["1ms", "1s", "1h", "1.5s", "100h"]


class Words:
    """Random parts of objects, each allowed by the API."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def one(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def some(self, **parts: Any) -> dict[str, Any]:
        """Some of the fields; the values are made for those alone."""
        return {name: make() for name, make in parts.items() if self.random.random() < 0.3}

    def number(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def time(self) -> str:
        return str(self.one(*TIMES))

    def percent(self) -> dict[str, float]:
        return {"value": self.one(0, 0.1, 12.5, 100)}

    def string(self) -> dict[str, str]:
        kind = self.one("exact", "prefix", "regex", "present")
        if kind == "present":
            return {}
        return {kind: self.one(*(REGEXES if kind == "regex" else TEXTS))}

    def uri(self) -> dict[str, str]:
        kind = self.one("exact", "prefix", "regex")
        if kind == "regex" and self.random.random() < 0.5:
            return {kind: self.one(*REGEXES)}
        return {kind: self.one("/", "/a", "/a/b/", "/A?b", *(f"/{self.number(0, 99)}" for _ in range(12)))}

    def strings(self) -> dict[str, Any]:
        return {self.one(*HEADERS): self.string() for _ in range(self.number(1, 2))}

    def match(self) -> dict[str, Any]:
        return self.some(
            uri=self.uri,
            method=self.string,
            scheme=self.string,
            authority=self.string,
            headers=self.strings,
            withoutHeaders=self.strings,
            queryParams=self.strings,
            ignoreUriCase=lambda: True,
            name=lambda: "m",
            statPrefix=lambda: "p",
            sourceLabels=lambda: {"a": "b"},
        )

    def edits(self) -> dict[str, Any]:
        pairs = {self.one(*HEADERS): self.one(*VALUES) for _ in range(2)}
        return self.some(set=lambda: pairs, add=lambda: pairs, remove=lambda: [self.one(*HEADERS)])

    def headers(self) -> dict[str, Any]:
        return self.some(request=self.edits, response=self.edits)

    def destination(self) -> dict[str, Any]:
        subset = {"subset": self.one("v1", "v2")} if self.random.random() < 0.5 else {}
        return {"host": self.one("s0", "s1", "s2", "dns.test", "lost"), "port": {"number": 80}, **subset}

    def weighted(self) -> dict[str, Any]:
        weight = self.one(0, 1, 50, 100)
        return {"destination": self.destination(), "weight": weight, **self.some(headers=self.headers)}

    def http(self) -> dict[str, Any]:
        action: dict[str, Any] = self.one(
            lambda: {"route": [self.weighted() for _ in range(self.number(1, 3))]},
            lambda: {"route": [self.weighted()]},
            lambda: {"redirect": self.redirect()},
            lambda: {"directResponse": {"status": self.number(200, 599), **self.some(body=lambda: {"string": "x"})}},
        )()
        matches = [{**self.match(), "uri": self.uri()} for _ in range(self.number(1, 3))]
        return (
            action
            | self.some(
                rewrite=self.rewrite,
                timeout=self.time,
                retries=self.retries,
                fault=self.fault,
                mirrors=lambda: [{"destination": self.destination(), **self.some(percentage=self.percent)}],
                corsPolicy=self.cors,
                headers=self.headers,
                name=lambda: "r",
            )
            | ({"match": matches} if self.random.random() < 0.9 else {})
        )

    def redirect(self) -> dict[str, Any]:
        return self.some(
            uri=lambda: "/new",
            prefixRewrite=lambda: "/p",
            authority=lambda: "new.test",
            scheme=lambda: self.one("http", "https"),
            redirectCode=lambda: self.one(301, 302, 303, 307, 308),
            **self.one({"port": lambda: 8443}, {"derivePort": lambda: "FROM_REQUEST_PORT"}),
        )

    def rewrite(self) -> dict[str, Any]:
        regex = {"match": self.one(*REGEXES), "rewrite": self.one(r"/\1", r"/\9", "/x", "")}
        return self.some(uri=lambda: self.one("/", "/b"), authority=lambda: "h", uriRegexRewrite=lambda: regex)

    def retries(self) -> dict[str, Any]:
        return {"attempts": self.number(0, 3)} | self.some(
            perTryTimeout=self.time,
            retryOn=lambda: self.one("5xx", "503,reset", "nonsense", "gateway-error, connect-failure"),
            backoff=self.time,
            retryIgnorePreviousHosts=lambda: self.one(True, False),
            retryRemoteLocalities=lambda: True,
        )

    def fault(self) -> dict[str, Any]:
        status = self.one({"httpStatus": self.number(200, 599)}, {"grpcStatus": self.one("UNAVAILABLE", "14", "NO")})
        return self.some(
            delay=lambda: {"fixedDelay": self.time(), **self.some(percentage=self.percent)},
            abort=lambda: {**status, **self.some(percentage=self.percent)},
        )

    def cors(self) -> dict[str, Any]:
        return self.some(
            allowOrigins=lambda: [self.string()],
            allowMethods=lambda: ["GET"],
            allowHeaders=lambda: ["x-a"],
            exposeHeaders=lambda: ["x-b"],
            maxAge=self.time,
            allowCredentials=lambda: True,
            unmatchedPreflights=lambda: self.one("FORWARD", "IGNORE"),
        )

    def balancer(self) -> dict[str, Any]:
        key = self.one(
            {"httpHeaderName": "x-a"},
            {"httpCookie": {"name": "c", **self.some(path=lambda: "/", ttl=self.time)}},
            {"useSourceIp": True},
            {"httpQueryParameterName": "q"},
        )
        size = self.one(
            {}, {"ringHash": {"minimumRingSize": self.one(1, 9_000_000)}}, {"maglev": {"tableSize": self.one(7, 8)}}
        )
        kind = self.one(
            {"simple": self.one("RANDOM", "ROUND_ROBIN", "LEAST_REQUEST", "PASSTHROUGH", "LEAST_CONN")},
            {"consistentHash": {**key, **size}},
        )
        places = self.one(
            {"failover": [{"from": "eu", "to": "us"}]}, {"distribute": [{"from": "*", "to": {"eu/*": 100}}]}
        )
        return kind | self.some(
            warmup=lambda: {"duration": self.time(), **self.some(minimumPercent=lambda: 5, aggression=lambda: 2)},
            localityLbSetting=lambda: {**places, **self.some(failoverPriority=lambda: ["a", "b=c"])},
        )

    def pool(self) -> dict[str, Any]:
        return self.some(
            tcp=lambda: self.some(
                maxConnections=lambda: self.number(0, 9),
                connectTimeout=self.time,
                idleTimeout=self.time,
                maxConnectionDuration=self.time,
                tcpKeepalive=lambda: self.some(probes=lambda: 1, time=self.time, interval=self.time),
            ),
            http=lambda: self.some(
                http1MaxPendingRequests=lambda: 1,
                http2MaxRequests=lambda: 1,
                maxRequestsPerConnection=lambda: self.number(0, 2),
                maxRetries=lambda: 1,
                idleTimeout=self.time,
                h2UpgradePolicy=lambda: self.one("UPGRADE", "DO_NOT_UPGRADE", "DEFAULT"),
                useClientProtocol=lambda: True,
                maxConcurrentStreams=lambda: self.number(0, 9),
                http2KeepAlive=lambda: self.some(interval=self.time, timeout=self.time),
            ),
        )

    def outlier(self) -> dict[str, Any]:
        return self.some(
            consecutive5xxErrors=lambda: self.number(0, 3),
            consecutiveGatewayErrors=lambda: self.number(0, 3),
            consecutiveLocalOriginFailures=lambda: 1,
            splitExternalLocalOriginErrors=lambda: True,
            interval=self.time,
            baseEjectionTime=self.time,
            maxEjectionPercent=lambda: self.number(0, 100),
            minHealthPercent=lambda: self.number(0, 100),
            outlierDetectionHttpErrorCodes=lambda: [429, 500],
        )

    def tls(self) -> dict[str, Any]:
        return {"mode": self.one("DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL")} | self.some(
            sni=lambda: "sni.test",
            subjectAltNames=lambda: ["a.test", "spiffe://a/b", "1.2.3.4", "a@b"],
            insecureSkipVerify=lambda: True,
            credentialName=lambda: "nothing",
        )

    def policy(self) -> dict[str, Any]:
        levels = {
            "loadBalancer": self.balancer,
            "connectionPool": self.pool,
            "outlierDetection": self.outlier,
            "tls": self.tls,
        }
        return self.some(
            **levels,
            portLevelSettings=lambda: [{"port": {"number": 80}, **self.some(**levels)}],
            tunnel=lambda: {"targetHost": "t.test", "targetPort": 1},
            proxyProtocol=lambda: {"version": self.one("V1", "V2")},
            retryBudget=lambda: self.some(percent=lambda: 10, minRetryConcurrency=lambda: 1),
        )


def named(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    version = "v1" if kind == "Service" else "networking.istio.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def world(seed: int, count: int) -> str:
    words = Words(seed)
    port = {"number": 8080, "name": "http", "protocol": "HTTP"}
    tcp = {"number": 9000, "name": "tcp", "protocol": "TCP"}
    servers = [{"port": port, "hosts": ["*"]}, {"port": tcp, "hosts": ["*"]}]
    documents = [named("Gateway", "edge", {"selector": {"a": "b"}, "servers": servers})]
    entry = {"hosts": ["dns.test"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "resolution": "DNS"}
    documents.append(named("ServiceEntry", "dns", entry))
    documents += [
        named("Service", name, {"ports": [{"name": words.one("http", "grpc", "tcp"), "port": 80}]})
        for name in ("s0", "s1", "s2")
    ]
    for host in ("s0", "s1", "s2", "dns.test"):
        subsets = [
            {"name": each, "labels": {"v": each}, **words.some(trafficPolicy=words.policy)} for each in ("v1", "v2")
        ]
        documents.append(
            named("DestinationRule", host, {"host": host, "trafficPolicy": words.policy(), "subsets": subsets})
        )
    for number in range(count):
        hosts = [f"h{number % (count // 2)}.test"]  # two for each host
        routes = [words.http() for _ in range(words.number(1, 4))]
        documents.append(named("VirtualService", f"v{number}", {"hosts": hosts, "gateways": ["edge"], "http": routes}))
    passed = {"hosts": ["*"], "gateways": ["edge"], "tcp": [{"route": [{"destination": words.destination()}]}]}
    return yaml.safe_dump_all([*documents, named("VirtualService", "tcp", passed)], allow_unicode=True)


@pytest.mark.parametrize("seed", range(20))
def test_envoy_takes_what_is_made_of_fifty_random_virtual_services_and_their_policies(seed: int) -> None:
    result = translate(snapshot(world(seed, 50)), EVERY_GATEWAY)
    assert [found for found in result.diagnostics if found.code == "XDS1010"] == []
    resources = result.resources
    validate(static_bootstrap(resources))
