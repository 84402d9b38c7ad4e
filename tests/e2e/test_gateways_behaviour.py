"""What a Gateway says is what a real Envoy does: one lab, many questions."""

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
from tests.e2e.recorded import Upstream, entry, gateway, upstream
from tests.e2e.test_policies_behaviour import secret
from xds_server.bootstrap import Node
from xds_server.demo.client import Target, exchange
from xds_server.demo.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

EDGE = Node("edge", labels=(("app", "edge"),))
OPENED = ("a", "b", "mutual", "optional", "modern", "files")
"""Hosts (NAME.test) whose TLS the gateway ends; `a` and `b` share a certificate."""


def virtual_service(name: str, hosts: str, body: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: default}}
spec:
  hosts: [{hosts}]
  gateways: [edge]
  {body}
---
"""


class Tunnels:
    """An HTTP proxy that answers CONNECT, and then echoes."""

    def __init__(self) -> None:
        self.targets: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.targets.append(head.split(b" ")[1].decode())
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sent := await reader.read(1000):
                writer.write(sent)
        writer.close()


class World:
    def __init__(self, lab: Lab, stack: contextlib.AsyncExitStack) -> None:
        self.lab, self._stack = lab, stack
        self.http, self.https, self.raw, self.tunnel = (free_port() for _ in range(4))
        self.authority, self.stranger = trustme.CA(), trustme.CA()
        self.tunnels = Tunnels()

    async def start(self) -> None:
        made = {name: await self._upstream(name) for name in OPENED}
        passed = await self._upstream("passed", self._certified("passed.test"))
        tunnels = await asyncio.start_server(self.tunnels.serve, "127.0.0.1", 0)
        self._stack.callback(tunnels.close)
        proxy = Upstream("proxy")
        proxy.port = tunnels.sockets[0].getsockname()[1]
        texts = [entry(f"{name}-up.test", each) for name, each in made.items()]
        texts += [entry("passed-up.test", passed, protocol="TLS"), entry("proxy-up.test", proxy, protocol="TCP")]
        texts += [self._secrets(), gateway(*self._servers()), self._rule()]
        for name in OPENED:
            to = f"http: [{{route: [{{destination: {{host: {name}-up.test}}}}]}}]"
            texts.append(virtual_service(name, f"{name}.test", to))
        to = "tls: [{match: [{sniHosts: [passed.test]}], route: [{destination: {host: passed-up.test}}]}]"
        texts.append(virtual_service("passed", "passed.test", to))
        to = f"tcp: [{{match: [{{port: {self.raw}}}], route: [{{destination: {{host: a-up.test}}}}]}}]"
        texts.append(virtual_service("raw", '"*"', to))
        to = f"tcp: [{{match: [{{port: {self.tunnel}}}], route: [{{destination: {{host: proxy-up.test}}}}]}}]"
        texts.append(virtual_service("tunnel", "tunnel.test", to))
        self.lab.write("world.yaml", "".join(texts))
        await self.lab.serve()
        await self.lab.envoy(EDGE)
        await eventually(lambda: answered(self.target("a")))

    async def _upstream(self, name: str, tls: ssl.SSLContext | None = None) -> Upstream:
        return await self._stack.enter_async_context(upstream(name, tls))

    def _certified(self, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(name).configure_cert(context)
        return context

    def _secrets(self) -> str:
        roots = self.authority.cert_pem.bytes()
        found = ""
        for name, hosts in (("shared", ("a.test", "b.test")), ("own", [f"{name}.test" for name in OPENED])):
            leaf = self.authority.issue_cert(*hosts)
            chain, key = leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()
            found += secret(name, tls_crt=chain, tls_key=key, ca_crt=roots)
        leaf = self.authority.issue_cert("files.test")
        leaf.private_key_pem.write_to_path(self.lab.directory / "files.key")
        leaf.cert_chain_pems[0].write_to_path(self.lab.directory / "files.crt")
        return found

    def _servers(self) -> list[str]:
        files = self.lab.directory
        pair = f"serverCertificate: {files}/files.crt, privateKey: {files}/files.key"
        tls = {
            "a": "mode: SIMPLE, credentialName: shared",
            "b": "mode: SIMPLE, credentialName: shared",
            "mutual": "mode: MUTUAL, credentialName: own",
            "optional": "mode: OPTIONAL_MUTUAL, credentialName: own",
            "modern": "mode: SIMPLE, credentialName: own, minProtocolVersion: TLSV1_3",
            "files": f"mode: SIMPLE, {pair}",
        }
        servers = [
            f"{{port: {{number: {self.https}, name: {name}, protocol: HTTPS}}, hosts: [{name}.test], tls: {{{how}}}}}"
            for name, how in tls.items()
        ]
        passing = f"port: {{number: {self.https}, name: passed, protocol: TLS}}, hosts: [passed.test]"
        plain = f"port: {{number: {self.http}, name: plain, protocol: HTTP}}, hosts: [a.test]"
        return [
            *servers,
            f"{{{passing}, tls: {{mode: PASSTHROUGH}}}}",
            f"{{{plain}, tls: {{httpsRedirect: true}}}}",
            f"{{port: {{number: {self.raw}, name: raw, protocol: TCP}}, hosts: ['*']}}",
            f"{{port: {{number: {self.tunnel}, name: tunnel, protocol: TCP}}, hosts: [tunnel.test]}}",
        ]

    def _rule(self) -> str:
        return """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: proxy, namespace: default}
spec:
  host: proxy-up.test
  trafficPolicy: {tunnel: {protocol: CONNECT, targetHost: far.example, targetPort: 7777}}
---
"""

    def trusting(self, shown: trustme.CA | None = None) -> ssl.SSLContext:
        """A client that believes our authority and shows a certificate of another, or none."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if shown is not None:
            shown.issue_cert("client.test").configure_cert(context)
        return context

    def target(self, name: str, context: ssl.SSLContext | None = None) -> Target:
        return Target(self.https, f"{name}.test", tls=context or self.trusting())

    async def ask(self, name: str, host: str, context: ssl.SSLContext | None = None) -> bytes:
        """The answer to a request for `host` on a connection to NAME.test; empty when there is none."""
        request = f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode()
        try:
            return await exchange(self.target(name, context), request)
        except OSError:
            return b""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="xds-lab-") as directory:
        async with contextlib.AsyncExitStack() as stack:
            made = World(Lab(Path(directory), stack), stack)
            await made.start()
            yield made


@pytest.mark.parametrize("name", ["a", "b", "optional", "modern", "files"])
async def test_the_server_name_chooses_certificate_and_routes(world: World, name: str) -> None:
    reply = await answered(world.target(name))
    assert reply.json()["name"] == name


@pytest.mark.parametrize("name", ["mutual", "optional"])
async def test_a_certificate_of_the_right_authority_is_taken_and_passed_on(world: World, name: str) -> None:
    reply = await answered(world.target(name, world.trusting(world.authority)))
    assert "Hash=" in reply.json()["headers"]["x-forwarded-client-cert"]


async def test_a_client_without_a_good_certificate_is_refused(world: World) -> None:
    assert await world.ask("mutual", "mutual.test") == b""
    assert await world.ask("mutual", "mutual.test", world.trusting(world.stranger)) == b""
    assert await world.ask("optional", "optional.test", world.trusting(world.stranger)) == b""


async def test_an_old_version_of_tls_is_refused_where_a_newer_one_is_asked_for(world: World) -> None:
    old = world.trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await world.ask("modern", "modern.test", old) == b""
    assert b"200" in await world.ask("a", "a.test", old)


async def test_hosts_of_one_certificate_share_connections_and_others_do_not(world: World) -> None:
    assert b'"name": "b"' in await world.ask("a", "b.test")
    assert (await world.ask("a", "mutual.test")).startswith(b"HTTP/1.1 421")
    assert (await world.ask("a", "nobody.test")).startswith(b"HTTP/1.1 421")


async def test_plain_requests_are_sent_to_https(world: World) -> None:
    reply = await answered(Target(world.http, "a.test", "/x"), status=301)
    assert reply.headers["location"] == "https://a.test/x"


async def test_tls_is_passed_on_by_its_server_name(world: World) -> None:
    reply = await answered(world.target("passed"))
    assert reply.json()["name"] == "passed"
    assert await world.ask("stranger", "stranger.test") == b""


async def test_tcp_is_passed_on_by_its_port(world: World) -> None:
    reply = await answered(Target(world.raw, "whatever.test"))
    assert reply.json()["name"] == "a"


async def test_tcp_goes_through_a_tunnel(world: World) -> None:
    assert await exchange(Target(world.tunnel, ""), b"ping", until=b"ping") == b"ping"
    assert world.tunnels.targets == ["far.example:7777"]
