"""Redirected traffic on real Envoys: iptables sends everything to a sidecar on each of two machines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.harness import eventually
from tests.e2e.namespaces import CLIENT, SECOND, SERVER, Machine, machines, missing
from xds_server.bootstrap import Node


@pytest.fixture(autouse=True)
def _able() -> None:
    if reason := missing():
        pytest.skip(f"REDIRECTION IS NOT TESTED: {reason}")


WEB_IP, ECHO_IP, GREETER_IP = "10.96.0.10", "10.96.0.11", "10.96.0.12"
UNKNOWN_PORT = 7777

CONFIG = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  clusterIP: {WEB_IP}
  selector: {{app: server}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: shop}}
spec:
  clusterIP: {ECHO_IP}
  selector: {{app: server}}
  ports: [{{name: tcp-echo, port: 5432}}, {{name: unsaid, port: 6000, targetPort: 8080}}]
---
apiVersion: v1
kind: Service
metadata: {{name: greeter, namespace: shop}}
spec:
  clusterIP: {GREETER_IP}
  selector: {{app: server}}
  ports: [{{name: mysql, port: 3306}}, {{name: unsaid, port: 25, targetPort: 2525}}]
---
apiVersion: v1
kind: Service
metadata: {{name: members, namespace: shop}}
spec: {{clusterIP: None, selector: {{set: members}}, ports: [{{name: tcp, port: 7000}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: members-0, namespace: shop, labels: {{app: server, set: members}}}}
spec: {{hostname: members-0, subdomain: members, containers: [{{name: app, image: app}}]}}
status: {{phase: Running, podIP: {SERVER}, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: members-1, namespace: shop, labels: {{set: members}}}}
spec: {{hostname: members-1, subdomain: members, containers: [{{name: app, image: app}}]}}
status: {{phase: Running, podIP: {SECOND}, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: shop}}
spec:
  hosts: [web]
  http:
  - match: [{{uri: {{prefix: /teapot}}}}]
    directResponse: {{status: 418}}
  - route: [{{destination: {{host: web}}}}]
    headers: {{request: {{set: {{x-routed: "by the sidecar"}}}}}}
"""

REGISTRY_ONLY = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
"""
MESH_REGISTRY_ONLY = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
"""


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]


async def get(machine: Machine, address: str, port: int, host: str, path: str = "/", version: str = "1.1") -> Answer:
    request = f"GET {path} HTTP/{version}\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    received = await machine.exchange(address, port, request.encode())
    head, _, body = received.partition(b"\r\n\r\n")
    assert head, "the connection was closed without an answer"
    return Answer(int(head.split(b" ")[1]), json.loads(body) if body.startswith(b"{") else {})


async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says who asked, and with which headers."""
    while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = json.dumps({"peer": writer.get_extra_info("peername")[0], "headers": headers}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says on which address it was reached, and what it was sent."""
    line = await reader.readline()
    writer.write(b"%s %s" % (writer.get_extra_info("sockname")[0].encode(), line))
    await writer.drain()


async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks first, and the client says nothing."""
    writer.write(b"welcome\n")
    await writer.drain()


class Mesh(NamedTuple):
    """Two machines: client and server. config: the YAML that both of their servers read."""

    client: Machine
    server: Machine
    config: Path

    def write(self, name: str, text: str) -> None:
        draft = self.config.parent / "draft"
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.config / name)


@contextlib.asynccontextmanager
async def mesh(transparent: bool = False) -> AsyncIterator[Mesh]:
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xds-lab-")))
        made = Mesh(*stack.enter_context(machines(directory)), directory / "config")
        made.config.mkdir()
        made.write("mesh.yaml", CONFIG)
        made.client.redirect()
        made.server.redirect(transparent)
        for port, serve in ((8080, web), (5432, echo), (3306, greet), (2525, greet), (UNKNOWN_PORT, echo)):
            await stack.enter_async_context(made.server.app(port, serve))
        for address in (SERVER, SECOND):
            await stack.enter_async_context(made.server.app(7000, echo, address))
        client = Node("client", "sidecar", "shop", (("app", "client"),), "REDIRECT", dns_capture=True)
        server = Node("server", "sidecar", "shop", (("app", "server"),), "TPROXY" if transparent else "REDIRECT")
        able = ("--inh-caps=+net_admin,+net_raw", "--ambient-caps=+net_admin,+net_raw") if transparent else ()
        await stack.enter_async_context(made.client.sidecar(made.config, client))
        await stack.enter_async_context(made.server.sidecar(made.config, server, *able))
        await eventually(lambda: answers(made.client), "the first answer through both sidecars")
        yield made


async def answers(client: Machine, host: str = "web", status: int = 200) -> bool:
    return (await get(client, WEB_IP, 80, host)).status == status


async def closed(machine: Machine, address: str, port: int) -> bool:
    """Whether a connection is closed without a word."""
    return await machine.exchange(address, port, b"anybody?\n") == b""


@pytest.fixture
async def redirected() -> AsyncIterator[Mesh]:
    async with mesh() as made:
        yield made


async def test_connections_go_where_the_configuration_says(redirected: Mesh) -> None:
    client = redirected.client

    answer = await get(client, WEB_IP, 80, "web.shop")
    assert answer.status == 200
    assert answer.body["headers"]["x-routed"] == "by the sidecar"
    assert answer.body["peer"] == "127.0.0.6", "the sidecar of the server was passed by"
    assert (await get(client, WEB_IP, 80, "web", "/teapot")).status == 418
    assert (await get(client, WEB_IP, 80, "web", "/teapot", version="1.0")).status == 418

    assert await client.exchange(ECHO_IP, 5432, b"hello\n") == f"{SERVER} hello\n".encode()
    assert (await get(client, ECHO_IP, 6000, "echo")).body["peer"] == "127.0.0.6", "HTTP was not found out"

    assert await client.exchange(GREETER_IP, 3306, until=b"\n") == b"welcome\n"
    assert await client.exchange(GREETER_IP, 25, until=b"\n") == b"welcome\n"

    for member in (SERVER, SECOND) * 3:
        assert await client.exchange(member, 7000, b"you?\n") == f"{member} you?\n".encode()


async def test_what_nobody_knows_passes_unless_it_is_forbidden(redirected: Mesh) -> None:
    client = redirected.client

    async def passes() -> bool:
        return await client.exchange(SERVER, UNKNOWN_PORT, b"hello\n") == f"{SERVER} hello\n".encode()

    assert await passes()
    assert (await get(client, SERVER, 8080, "whoever")).status == 200
    for forbidding in (REGISTRY_ONLY, MESH_REGISTRY_ONLY):
        redirected.write("strict.yaml", forbidding)
        await eventually(lambda: closed(client, SERVER, UNKNOWN_PORT), "the unknown destination is refused")
        await eventually(lambda: answers(client, "unknown.example.com", 502), "the unknown host is refused")
        assert await answers(client)
        (redirected.config / "strict.yaml").unlink()
        await eventually(passes, "the unknown destination passes again")


def question(name: str, kind: int = 1) -> bytes:
    """A DNS query (RFC 1035, section 4)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)


def addresses(answer: bytes) -> list[str]:
    """The IPv4 addresses in a DNS answer: records of type A and class IN, with any time to live, of four bytes."""
    found = re.findall(rb"\x00\x01\x00\x01.{4}\x00\x04(.{4})", answer, re.DOTALL)
    return sorted(socket.inet_ntoa(address) for address in found)


async def test_the_sidecar_answers_for_the_names_of_services(redirected: Mesh) -> None:
    client = redirected.client
    for name in ("web", "web.shop", "web.shop.svc.cluster.local"):
        answer = await client.ask(SERVER, 53, question(name))
        assert addresses(answer) == [WEB_IP], name
    members = await client.ask(SERVER, 53, question("members.shop.svc.cluster.local"))
    assert addresses(members) == [SERVER, SECOND]
    other_kind = await client.ask(SERVER, 53, question("web", kind=28))  # AAAA
    assert other_kind[3] & 15 == 0, "who asks for both kinds would believe that the name does not exist"


async def test_with_tproxy_the_workload_sees_the_client() -> None:
    async with mesh(transparent=True) as made:
        assert (await get(made.client, WEB_IP, 80, "web")).body["peer"] == CLIENT
        assert await made.client.exchange(ECHO_IP, 5432, b"hello\n") == f"{SERVER} hello\n".encode()
        assert await made.client.exchange(GREETER_IP, 3306, until=b"\n") == b"welcome\n"
        assert await made.client.exchange(SERVER, UNKNOWN_PORT, b"hello\n") == f"{SERVER} hello\n".encode()
