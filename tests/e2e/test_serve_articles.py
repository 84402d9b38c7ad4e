"""The founding articles' YAML, unchanged, through real Envoys: a gateway, and a sidecar of a workload that calls."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.e2e.harness import Lab, answered, eventually
from xds_server.bootstrap import Node
from xds_server.demo.client import Target, exchange, fetch
from xds_server.demo.ports import free_port
from xds_server.demo.proof import SAMPLE, within
from xds_server.demo.stage import GATEWAY, SITE, sidecar
from xds_server.demo.system import System
from xds_server.demo.traffic import Traffic
from xds_server.demo.upstreams import SSL_REQUEST

ARTICLES = Path(__file__).parents[2] / "examples" / "articles" / "config" / "articles.yaml"


class Articles:
    """The running system."""

    def __init__(self, lab: Lab, system: System) -> None:
        self.lab, self.system = lab, system
        self.site = Target(system.ports["http"], SITE, "/api/v2")

    def service(self, host: str) -> Target:
        """A service, called through the sidecar."""
        return Target(self.system.http_proxy, host)


@pytest.fixture
async def articles(lab: Lab) -> Articles:
    running = Articles(lab, lab.place_articles())
    await lab.upstreams(running.system)
    await lab.serve()
    await lab.envoy(GATEWAY)
    await lab.envoy(sidecar(running.system))
    await eventually(lambda: answered(running.site))
    await eventually(lambda: answered(running.service("user-api.backend")))
    return running


async def test_the_canary_splits_20_to_80_over_http(articles: Articles) -> None:
    assert articles.system.articles.read_bytes() == ARTICLES.read_bytes()
    traffic = Traffic(window=SAMPLE)

    async def send() -> None:
        for _ in range(SAMPLE // 5):
            traffic.record(await fetch(articles.site))

    await asyncio.gather(*(send() for _ in range(5)))
    assert traffic.failures == []
    assert within(traffic.share("v2"), 0.2, SAMPLE), traffic.recent()


async def test_https_ends_with_the_certificate_of_the_secret_and_no_other(articles: Articles) -> None:
    trusting = ssl.create_default_context(cadata=articles.system.certificate)
    site = Target(articles.system.ports["https"], SITE, "/api/v2", tls=trusting)
    reply = await eventually(lambda: answered(site))
    assert reply.json()["app"] == "backend"
    elsewhere = Target(site.port, SITE, "/api/v2", tls=ssl.create_default_context())
    assert "CERTIFICATE_VERIFY_FAILED" in (await fetch(elsewhere)).error


async def test_other_hosts_and_paths_are_not_found(articles: Articles) -> None:
    await answered(Target(articles.site.port, SITE, "/"), status=404)
    await answered(Target(articles.site.port, "other.example.com", "/api/v2"), status=404)


@pytest.mark.parametrize(
    ("name", "question", "answer"), [("postgres", SSL_REQUEST, b"N"), ("redis", b"PING\r\n", b"+")]
)
async def test_tcp_reaches(articles: Articles, name: str, question: bytes, answer: bytes) -> None:
    target = Target(articles.system.ports[name], "")
    assert (await eventually(lambda: exchange(target, question, until=answer))) == answer


@pytest.mark.parametrize(
    ("host", "app"),
    [
        pytest.param("user-api.backend.svc.cluster.local", "user-api", id="a ClusterIP service"),
        pytest.param("webapp-dev.development", "webapp", id="a NodePort service, by its short name"),
        pytest.param("api-test.testing:8080", "api-server", id="a NodePort service on its own port"),
        pytest.param("webapp-prod.production.svc", "webapp", id="a LoadBalancer service"),
        pytest.param("backend-service", "backend", id="a service of the proxy's own namespace"),
    ],
)
async def test_a_sidecar_reaches(articles: Articles, host: str, app: str) -> None:
    reply = await eventually(lambda: answered(articles.service(host)))
    assert reply.json()["app"] == app


async def test_headless_and_external_services_are_clusters_of_the_sidecar(articles: Articles) -> None:
    clusters = (await articles.lab.ask_envoy("sidecar", "/clusters?format=json"))["cluster_statuses"]
    hosts = {item["name"]: item.get("host_statuses", []) for item in clusters}
    [endpoint] = hosts["outbound|5432||postgres-cluster.database.svc.cluster.local"]
    assert endpoint["address"]["socket_address"]["address"].startswith(articles.system.block)
    assert "outbound|5432||external-postgres.production.svc.cluster.local" in hosts


async def test_tcp_through_a_sidecar_goes_to_the_service_of_that_port(lab: Lab) -> None:
    redis = await lab.upstream("redis", host="127.0.0.1")
    port = free_port()
    lab.write(
        "cache.yaml",
        f"""
apiVersion: v1
kind: Service
metadata: {{name: cache, namespace: shop}}
spec: {{clusterIP: None, ports: [{{name: tcp-redis, port: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: cache, namespace: shop, labels: {{kubernetes.io/service-name: cache}}}}
addressType: IPv4
ports: [{{name: tcp-redis, port: {redis.port}}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
""",
    )
    await lab.serve()
    await lab.envoy(Node("shop", role="sidecar", namespace="shop", interception="NONE"))
    reply = await eventually(lambda: exchange(Target(port, ""), b"PING\r\n", until=b"\n"))
    assert reply == b"+PONG\r\n"
