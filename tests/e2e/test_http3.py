"""A gateway whose port is UDP too is reached over HTTP/3, through a real Envoy."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from tests.e2e import http3
from tests.e2e.harness import Lab, answered, eventually
from tests.e2e.recorded import entry, gateway, upstream
from tests.e2e.test_gateways_behaviour import EDGE, virtual_service
from tests.e2e.test_policies_behaviour import secret
from xds_server.demo.client import Reply, Target
from xds_server.demo.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODES = {"web": "SIMPLE", "mutual": "MUTUAL, subjectAltNames: [client.test]", "optional": "OPTIONAL_MUTUAL"}
"""Hosts (NAME.test)."""


class World:
    def __init__(self, lab: Lab) -> None:
        self.lab, self.port, self.udp_port = lab, free_port(), free_port()
        self.authority, self.stranger = trustme.CA(), trustme.CA()
        self._roots = lab.directory / "roots.pem"
        self.authority.cert_pem.write_to_path(self._roots)

    async def start(self, stack: contextlib.AsyncExitStack) -> None:
        texts = [self._gateway(), self._service()]
        for name in MODES:
            leaf = self.authority.issue_cert(f"{name}.test")
            chain, key = leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()
            texts.append(secret(name, tls_crt=chain, tls_key=key, ca_crt=self.authority.cert_pem.bytes()))
            texts.append(entry(f"{name}-up.test", await stack.enter_async_context(upstream(name, None))))
            to = f"http: [{{route: [{{destination: {{host: {name}-up.test}}}}]}}]"
            texts.append(virtual_service(name, f"{name}.test", to))
        self.lab.write("world.yaml", "".join(texts))
        await self.lab.serve()
        await self.lab.envoy(EDGE)
        await eventually(self.over_tcp)

    def _gateway(self) -> str:
        servers = []
        for name, mode in MODES.items():
            port = f"port: {{number: {self.port}, name: {name}, protocol: HTTPS}}"
            servers.append(f"{{{port}, hosts: [{name}.test], tls: {{mode: {mode}, credentialName: {name}}}}}")
        return gateway(*servers)

    def _service(self) -> str:
        return f"""
apiVersion: v1
kind: Service
metadata: {{name: edge, namespace: default}}
spec:
  selector: {{app: edge}}
  ports:
  - {{name: https, port: {self.port}}}
  - {{name: http3, port: {self.port}, targetPort: {self.udp_port}, protocol: UDP}}
---
"""

    async def over_tcp(self) -> Reply:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return await answered(Target(self.port, "web.test", tls=context))

    async def over_quic(
        self, name: str, host: str = "", shown: trustme.CA | None = None, client: str = "client.test"
    ) -> Reply:
        """The answer to a request for the host (NAME.test) on a QUIC connection to NAME.test. shown: who has signed
        the client's certificate; None for a client that has none."""
        pair = None
        if shown is not None:
            pair = self.lab.directory / "client.crt", self.lab.directory / "client.key"
            leaf = shown.issue_cert(client)
            leaf.cert_chain_pems[0].write_to_path(pair[0])
            leaf.private_key_pem.write_to_path(pair[1])
        target = Target(self.udp_port, host or f"{name}.test")
        return await http3.fetch(target, f"{name}.test", self._roots, pair)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="xds-lab-") as directory:
        async with contextlib.AsyncExitStack() as stack:
            made = World(Lab(Path(directory), stack))
            await made.start(stack)
            yield made


async def test_answers_over_tcp_say_where_http3_is_served(world: World) -> None:
    reply = await world.over_tcp()
    assert reply.headers["alt-svc"] == f'h3=":{world.port}"; ma=86400'


@pytest.mark.parametrize("name", ["web", "optional"])
async def test_requests_over_quic_take_the_same_routes(world: World, name: str) -> None:
    reply = await world.over_quic(name)
    assert (reply.status, reply.json()["name"]) == (200, name)


@pytest.mark.parametrize("name", ["mutual", "optional"])
async def test_a_good_client_certificate_is_taken_and_passed_on(world: World, name: str) -> None:
    reply = await world.over_quic(name, shown=world.authority)
    assert "Hash=" in reply.json()["headers"]["x-forwarded-client-cert"]


async def test_a_client_without_a_good_certificate_is_refused(world: World) -> None:
    assert "certificate required" in (await world.over_quic("mutual")).error
    assert "unknown CA" in (await world.over_quic("mutual", shown=world.stranger)).error
    assert "unknown CA" in (await world.over_quic("optional", shown=world.stranger)).error
    assert (
        "CERTIFICATE_VERIFY_FAILED" in (await world.over_quic("mutual", shown=world.authority, client="x.test")).error
    )


async def test_a_host_of_another_certificate_is_answered_421(world: World) -> None:
    assert (await world.over_quic("web", "mutual.test")).status == 421
