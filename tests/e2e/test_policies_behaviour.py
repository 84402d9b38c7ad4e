"""What a DestinationRule says is what a real Envoy does: one lab, many questions."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from tests.e2e.harness import Lab, answered, eventually
from tests.e2e.recorded import Upstream, entry, gateway, stat, upstream
from xds_server.bootstrap import Node
from xds_server.demo.client import Reply, Target, fetch
from xds_server.demo.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

EDGE = Node("edge", labels=(("app", "edge"), ("near", "yes")))


def rule(host: str, policy: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host.partition(".")[0]}, namespace: default}}
spec:
  host: {host}
  trafficPolicy: {policy}
---
"""


def routes(*hosts: str) -> str:
    listed = "".join(
        f"  - {{match: [{{uri: {{prefix: /{host.partition('.')[0]}}}}}], retries: {{attempts: 0}}, "
        f"route: [{{destination: {{host: {host}}}}}]}}\n"
        for host in hosts
    )
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: all, namespace: default}}
spec:
  hosts: [all.example]
  gateways: [edge]
  http:
{listed}---
"""


def secret(name: str, **data: bytes) -> str:
    lines = ""
    for key, value in data.items():
        lines += f"  {key.replace('_', '.')}: |\n" + "".join(f"    {line}\n" for line in value.decode().splitlines())
    metadata = f"metadata: {{name: {name}, namespace: default}}"
    return f"apiVersion: v1\nkind: Secret\n{metadata}\nstringData:\n{lines}---\n"


class World:
    """authority: the one that upstreams with TLS have their certificates of."""

    def __init__(self, lab: Lab, stack: contextlib.AsyncExitStack) -> None:
        self.lab, self._stack = lab, stack
        self.port = free_port()
        self.authority = trustme.CA()
        self.upstreams: dict[str, Upstream] = {}

    async def upstream(self, name: str, tls: ssl.SSLContext | None = None) -> Upstream:
        self.upstreams[name] = await self._stack.enter_async_context(upstream(name, tls))
        return self.upstreams[name]

    def server_tls(self, name: str, asks: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(name).configure_cert(context)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            self.authority.configure_trust(context)
        return context

    def client_secret(self, name: str) -> str:
        client = self.authority.issue_cert("client.test")
        key, chain = client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()
        return secret(name, tls_crt=chain, tls_key=key, ca_crt=self.authority.cert_pem.bytes())

    async def get(self, path: str, **headers: str) -> Reply:
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return await fetch(Target(self.port, "all.example", path, headers=named))

    async def names(self, path: str, times: int, **headers: str) -> set[str]:
        replies = [await self.get(path, **headers) for _ in range(times)]
        return {reply.json()["name"] if reply.ok else str(reply.status) for reply in replies}

    async def start(self) -> None:
        made = self.upstream
        files = self.lab.directory
        client = self.authority.issue_cert("client.test")
        client.private_key_pem.write_to_path(files / "client.key")
        client.cert_chain_pems[0].write_to_path(files / "client.crt")
        self.authority.cert_pem.write_to_path(files / "ca.crt")
        pair = f"clientCertificate: {files}/client.crt, privateKey: {files}/client.key"
        roots = f"caCertificates: {files}/ca.crt"
        ejecting = (
            "{loadBalancer: {simple: ROUND_ROBIN}, "
            "outlierDetection: {consecutive5xxErrors: 2, interval: 50ms, baseEjectionTime: 1h, maxEjectionPercent: 50}}"
        )
        plain = {
            "breaker": "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}",
            "outlier": ejecting,
            "busy": ejecting.replace("}}", ", outlierDetectionHttpErrorCodes: [429]}}"),
            "failover": "{loadBalancer: {localityLbSetting: {failoverPriority: [near]}}, "
            "outlierDetection: {consecutiveGatewayErrors: 1, consecutive5xxErrors: 0, interval: 50ms, "
            "baseEjectionTime: 1h, maxEjectionPercent: 100}}",
            "header": "{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}",
            "cookie": "{loadBalancer: {consistentHash: {httpCookie: {name: stick, path: /, ttl: 0s, "
            "attributes: [{name: SameSite, value: Strict}]}}}}",
            "proxied": "{proxyProtocol: {version: V2}}",
        }
        texts = []
        for name, policy in plain.items():
            two = name not in ("breaker", "proxied")
            found = [await made(f"{name}-1"), *([await made(f"{name}-2")] if two else [])]
            text = entry(f"{name}.test", *found)
            if name == "failover":
                text = text.replace("{version: failover-1}", '{version: failover-1, near: "yes"}')
            texts.append(text + rule(f"{name}.test", policy))
        secure = {
            "tls": ("tls.test", f"{{tls: {{mode: SIMPLE, sni: tls.test, {roots}}}}}"),
            "wrong": ("tls.test", f"{{tls: {{mode: SIMPLE, sni: tls.test, subjectAltNames: [other.test], {roots}}}}}"),
            "system": ("tls.test", "{tls: {mode: SIMPLE, sni: tls.test}}"),
            "careless": ("tls.test", "{tls: {mode: SIMPLE, sni: tls.test, insecureSkipVerify: true}}"),
            "auto": ("all.example", f"{{tls: {{mode: SIMPLE, {roots}}}}}"),
            "mutual": ("mutual.test", f"{{tls: {{mode: MUTUAL, sni: mutual.test, {pair}, {roots}}}}}"),
            "naked": ("mutual.test", f"{{tls: {{mode: SIMPLE, sni: mutual.test, {roots}}}}}"),
            "credential": ("mutual.test", "{tls: {mode: MUTUAL, sni: mutual.test, credentialName: client}}"),
            "nosecret": ("mutual.test", "{tls: {mode: MUTUAL, sni: mutual.test, credentialName: nobody}}"),
        }
        for name, (certified, policy) in secure.items():
            context = self.server_tls(certified, asks=certified == "mutual.test")
            texts.append(entry(f"{name}.test", await made(name, context)) + rule(f"{name}.test", policy))
        texts.append(self.client_secret("client"))
        http = f"{{port: {{number: {self.port}, name: http, protocol: HTTP}}, hosts: ['*']}}"
        hosts = [f"{name}.test" for name in (*plain, *secure)]
        self.lab.write("world.yaml", gateway(http) + "".join(texts) + routes(*hosts))
        await self.lab.serve()
        await self.lab.envoy(EDGE)
        await eventually(lambda: answered(Target(self.port, "all.example", "/header")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="xds-lab-") as directory:
        async with contextlib.AsyncExitStack() as stack:
            made = World(Lab(Path(directory), stack), stack)
            await made.start()
            yield made


def cluster(host: str, counter: str) -> str:
    return rf"cluster\.outbound\|80\|\|{host}\.test\.{counter}"


async def test_a_circuit_breaker_refuses_what_is_too_much_and_nothing_else(world: World) -> None:
    slow = world.upstreams["breaker-1"]
    waiting = [asyncio.create_task(world.get("/breaker/hang")) for _ in range(8)]
    # Each of Envoy's two threads may have one connection and one request in its queue.
    await eventually(lambda: sum(task.done() for task in waiting) >= 4)
    refused = [task.result() for task in waiting if task.done()]
    assert {(reply.status, reply.headers.get("x-envoy-overloaded")) for reply in refused} == {(503, "true")}
    slow.release.set()
    replies = await asyncio.gather(*waiting)
    assert [reply.status for reply in replies].count(200) == 8 - len(refused) == slow.count("/breaker/hang")


@pytest.mark.parametrize(
    ("host", "status"), [("outlier", 500), ("busy", 429)], ids=["of 500", "of a status that was named"]
)
async def test_an_endpoint_with_errors_in_a_row_is_ejected(world: World, host: str, status: int) -> None:
    bad = world.upstreams[f"{host}-1"]
    bad.status = status

    async def ejected() -> bool:
        await world.get(f"/{host}")
        return await stat(world.lab, EDGE.id, cluster(host, "outlier_detection.ejections_active")) == 1

    await eventually(ejected)
    asked = len(bad.asked)
    assert await world.names(f"/{host}", 12) == {f"{host}-2"}
    assert len(bad.asked) == asked


async def test_what_is_near_is_used_until_it_fails(world: World) -> None:
    assert await world.names("/failover", 12) == {"failover-1"}
    await world.upstreams["failover-1"].stop()

    async def moved() -> bool:
        return (await world.get("/failover")).ok

    await eventually(moved)
    assert await world.names("/failover", 12) == {"failover-2"}


async def test_a_header_decides_where_its_requests_go(world: World) -> None:
    places = [await world.names("/header", 4, x_user=f"user-{number}") for number in range(12)]
    assert all(len(found) == 1 for found in places)
    assert set.union(*places) == {"header-1", "header-2"}


async def test_a_cookie_keeps_a_client_where_it_is(world: World) -> None:
    first = await world.get("/cookie")
    cookie, *attributes = [part.strip() for part in first.headers["set-cookie"].split(";")]
    assert cookie.startswith("stick=")
    assert "SameSite=Strict" in attributes
    assert await world.names("/cookie", 8, cookie=cookie.replace('"', "")) == {first.json()["name"]}


async def test_connections_begin_with_a_proxy_header(world: World) -> None:
    assert (await world.get("/proxied")).ok
    assert world.upstreams["proxied-1"].asked[-1].proxied == 2


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("tls", 200, id="a good certificate of a known authority"),
        pytest.param("wrong", 503, id="a certificate for another name"),
        pytest.param("system", 503, id="an authority that the system does not know"),
        pytest.param("careless", 200, id="no questions asked"),
        pytest.param("auto", 200, id="the name of the request without an SNI"),
        pytest.param("mutual", 200, id="a client's certificate from files"),
        pytest.param("naked", 503, id="no certificate where one is asked for"),
        pytest.param("credential", 200, id="a client's certificate from a Secret"),
        pytest.param("nosecret", 503, id="a Secret that is not there"),
    ],
)
async def test_tls(world: World, host: str, status: int) -> None:
    reply = await world.get(f"/{host}")
    assert reply.status == status, reply.body
    names = {"auto": "all.example", "mutual": "mutual.test", "credential": "mutual.test"}
    if status == 200:
        assert world.upstreams[host].asked[-1].server_name == names.get(host, "tls.test")
    else:
        assert world.upstreams[host].asked == []


async def test_a_secret_that_comes_later_is_used(world: World) -> None:
    world.lab.write("later.yaml", world.client_secret("nobody"))
    await eventually(lambda: answered(Target(world.port, "all.example", "/nosecret")))
    assert world.upstreams["nosecret"].asked
