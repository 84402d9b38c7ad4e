"""A real Envoy trusts only whom it should, as a server and as a client."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from tests.e2e.harness import Lab
from tests.e2e.static_envoy import backend, endpoints, fetched, http, route, served, table, to
from tests.unit.envoy.full import EXACT, ORIGIN, at
from xds_server.demo.client import Target
from xds_server.demo.ports import free_port
from xds_server.mesh.model import (
    BackendPolicy,
    Certificate,
    ClientCertificate,
    ClientTLS,
    Match,
    Respond,
    ServerTLS,
    Trust,
    View,
)

AUTHORITY = trustme.CA()
SERVER = AUTHORITY.issue_cert("web.example.com")
CLIENT = AUTHORITY.issue_cert("client.example.com")


def pem(name: str, certificate: trustme.LeafCert) -> Certificate:
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return Certificate(name, chain, certificate.private_key_pem.bytes(), ORIGIN)


SECRETS = (
    pem("server", SERVER),
    pem("client", CLIENT),
    Trust("authority", AUTHORITY.cert_pem.bytes(), ORIGIN),
)


@contextlib.asynccontextmanager
async def tls_upstream() -> AsyncIterator[int]:
    """A server with the certificate of web.example.com, which asks for a client's certificate if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    SERVER.configure_cert(context)
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            subject = (writer.get_extra_info("peercert") or {}).get("subjectAltName", (("", ""),))
            name = subject[0][1].encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(name), name))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


NAMED = ("web.example.com",)
ORIGINATION: dict[str, tuple[ClientTLS, str, str]] = {
    "sni": (ClientTLS("web.example.com", trust="authority"), "a.com", "200 "),
    "wrong-sni": (ClientTLS("other.example.com", trust="authority"), "web.example.com", "503"),
    "name": (ClientTLS("x.com", trust="authority", subject_alt_names=NAMED), "a.com", "200 "),
    "wrong-name": (ClientTLS("web.example.com", trust="authority", subject_alt_names=("x.com",)), "a.com", "503"),
    "host": (ClientTLS(trust="authority"), "web.example.com", "200 "),
    "wrong-host": (ClientTLS(trust="authority"), "a.com", "503"),
    "system": (ClientTLS("web.example.com"), "a.com", "503"),
    "unverified": (ClientTLS("x.com", verify=False), "a.com", "200 "),
    "mutual": (ClientTLS("web.example.com", "client", "authority"), "a.com", "200 client.example.com"),
}


async def test_only_the_right_server_is_trusted(lab: Lab) -> None:
    port = free_port()
    routes = table(*(route(at(EXACT, f"/{name}"), to(name)) for name in ORIGINATION))
    backends = tuple(backend(name, BackendPolicy(tls=tls)) for name, (tls, _, _) in ORIGINATION.items())
    async with tls_upstream() as upstream:
        reached = tuple(endpoints(name, upstream) for name in ORIGINATION)
        view = View(listeners=(http(port),), route_tables=routes, backends=backends, endpoints=reached, secrets=SECRETS)
        async with served(lab, view):
            replies = await fetched(
                {name: Target(port, host, f"/{name}") for name, (_, host, _) in ORIGINATION.items()}
            )
    seen = {name: f"200 {reply.body.decode()}" if reply.ok else str(reply.status) for name, reply in replies.items()}
    assert seen == {name: expected for name, (_, _, expected) in ORIGINATION.items()}


def client_context(certificate: trustme.LeafCert | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    if certificate:
        certificate.configure_cert(context)
    return context


REQUIRED, OPTIONAL = ClientCertificate.REQUIRED, ClientCertificate.OPTIONAL
STRANGER = trustme.CA().issue_cert("client.example.com")
TERMINATION: dict[str, tuple[ServerTLS, dict[str, bool]]] = {
    "nobody is asked": (ServerTLS(("server",)), {"none": True, "client": True, "stranger": True}),
    "everybody is asked": (
        ServerTLS(("server",), "authority", REQUIRED),
        {"none": False, "client": True, "stranger": False},
    ),
    "who shows a certificate is checked": (
        ServerTLS(("server",), "authority", OPTIONAL),
        {"none": True, "client": True, "stranger": False},
    ),
    "only a certain name comes in": (
        ServerTLS(("server",), "authority", REQUIRED, subject_alt_names=("other.example.com",)),
        {"none": False, "client": False},
    ),
}


@pytest.mark.parametrize("case", TERMINATION)
async def test_only_the_right_clients_come_in(lab: Lab, case: str) -> None:
    tls, expected = TERMINATION[case]
    port, certificates = free_port(), {"none": None, "client": CLIENT, "stranger": STRANGER}
    view = View(listeners=(http(port, tls),), route_tables=table(route(Match(), Respond(200))), secrets=SECRETS)

    targets = {who: Target(port, "web.example.com", tls=client_context(certificates[who])) for who in expected}
    async with served(lab, view):
        replies = await fetched(targets)
    assert {who: reply.ok for who, reply in replies.items()} == expected
