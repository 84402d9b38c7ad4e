"""A real Envoy accepts all that can be said, and does with it what the neutral model promises."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme

from tests.e2e.harness import Lab, eventually
from tests.envoy_config import static_bootstrap, validate
from tests.unit.envoy.full import EXACT, MORE, ORIGIN, PATH_PREFIX, PREFIX, PRESENT, REGEX, at, full_view, string
from xds_server.demo.client import Reply, Target, exchange, fetch
from xds_server.demo.ports import free_port
from xds_server.demo.processes import child, find_envoy
from xds_server.demo.system import Workload
from xds_server.envoy.build import build
from xds_server.memo import no_memo
from xds_server.mesh.model import (
    Backend,
    BackendEndpoints,
    BackendPolicy,
    Certificate,
    Chain,
    ChainMatch,
    ClientCertificate,
    ClientTLS,
    Cors,
    Destination,
    Direction,
    Discovery,
    Endpoint,
    Fault,
    Forward,
    HeaderEdits,
    HeaderMatch,
    Http,
    Listener,
    Match,
    Protocol,
    Redirect,
    Respond,
    Rewrite,
    Route,
    RouteTable,
    ServerTLS,
    ServicePort,
    Tcp,
    Trust,
    View,
    VirtualHost,
)

AUTHORITY = trustme.CA()
SERVER = AUTHORITY.issue_cert("web.example.com")
CLIENT = AUTHORITY.issue_cert("client.example.com")
POLICY = BackendPolicy()
Key = TypeVar("Key")


def pem(name: str, certificate: trustme.LeafCert) -> Certificate:
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return Certificate(name, chain, certificate.private_key_pem.bytes(), ORIGIN)


SECRETS = (
    pem("server", SERVER),
    pem("client", CLIENT),
    Trust("authority", AUTHORITY.cert_pem.bytes(), ORIGIN),
)


@contextlib.asynccontextmanager
async def served(lab: Lab, view: View) -> AsyncIterator[None]:
    """An Envoy that has this view, once all its listeners take connections."""
    resources, bugs = build(view, no_memo)
    assert bugs == ()
    config = lab.directory / "static.json"
    config.write_text(json.dumps(static_bootstrap(resources)))
    command: list[str | Path] = [find_envoy(), "-c", config, "--concurrency", "1", "--disable-hot-restart"]
    async with child([*command, "-l", "warn"], lab.directory / "static.log") as envoy:

        async def listens() -> bool:
            envoy.check()
            for listener in view.listeners:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(listener.address, listener.port)
                    writer.close()
                    continue
                return False
            return True

        await eventually(listens)
        yield


def listening(port: int, *chains: Chain) -> Listener:
    return Listener(f"l{port}", "127.0.0.1", port, Direction.OUTBOUND, chains, MORE)


def http(port: int, tls: ServerTLS | None = None) -> Listener:
    return listening(port, Chain("http", ChainMatch(), Http("t", "http"), tls))


def table(*routes: Route) -> tuple[RouteTable, ...]:
    return (RouteTable("t", (VirtualHost("v", ("*",), routes),), MORE),)


def route(match: Match, action: Forward | Redirect | Respond, **more: Any) -> Route:
    return Route("r", match, action, ORIGIN, **more)


def to(name: str, rewrite: Rewrite | None = None) -> Forward:
    return Forward((Destination(name),), rewrite=rewrite)


def backend(name: str, policy: BackendPolicy = POLICY) -> Backend:
    return Backend(name, name, ServicePort(80, "http", Protocol.HTTP), policy, Discovery.ENDPOINTS, MORE)


def endpoints(name: str, port: int) -> BackendEndpoints:
    return BackendEndpoints(name, (Endpoint("127.0.0.1", port),), MORE)


def through(port: int, routes: tuple[RouteTable, ...], upstream: Workload) -> View:
    return View((http(port),), (), routes, (backend("web"),), (endpoints("web", upstream.port),))


async def fetched(targets: dict[Key, Target]) -> dict[Key, Reply]:
    """The replies of all targets, asked for at once."""
    replies = await asyncio.gather(*map(fetch, targets.values()))
    return dict(zip(targets, replies, strict=True))


async def test_a_view_that_uses_every_field(lab: Lab) -> None:
    server, authorities = SECRETS[0], SECRETS[2]
    assert isinstance(server, Certificate)
    assert isinstance(authorities, Trust)
    resources, bugs = build(full_view(server.chain, server.key, authorities.authorities), no_memo)
    assert bugs == ()
    await asyncio.to_thread(validate, static_bootstrap(resources))


PATHS: dict[str, tuple[Match, Rewrite, dict[str, str]]] = {
    "text": (at(PREFIX, "/text"), Rewrite(prefix="/t"), {"/text": "/t", "/texts/b?q=1": "/ts/b?q=1"}),
    "segments": (at(PATH_PREFIX, "/seg/"), Rewrite(prefix="/s/"), {"/seg": "/s", "/seg/b?q=1": "/s/b?q=1"}),
    "segments to the root": (
        at(PATH_PREFIX, "/a.b"),
        Rewrite(prefix="/"),
        {"/a.b": "/", "/a.b/": "/", "/a.b/c?q=1": "/c?q=1"},
    ),
    "segments in any case": (at(PATH_PREFIX, "/Case", True), Rewrite(prefix="/"), {"/cASE/b": "/b"}),
    "all": (at(PATH_PREFIX, "/all"), Rewrite(path="/new\\1"), {"/all/b/c?q=1": "/new\\1?q=1"}),
    "exactly": (at(EXACT, "/exact"), Rewrite(prefix="/e"), {"/exact": "/e"}),
    "by groups": (
        at(REGEX, "/group/(.*)/.*"),
        Rewrite(regex="^/group/(.*)/(.*)$", substitution=r"/\2/\1"),
        {"/group/a/b": "/b/a"},
    ),
    "from the root": (at(PATH_PREFIX, "/"), Rewrite(prefix="/v1"), {"/": "/v1/", "/b": "/v1/b", "/a.bc": "/v1/a.bc"}),
}


async def test_paths_are_rewritten(lab: Lab) -> None:
    web, port = await lab.upstream("web"), free_port()
    routes = table(*(route(match, to("web", rewrite)) for match, rewrite, _ in PATHS.values()))
    expected = {path: seen for _, _, paths in PATHS.values() for path, seen in paths.items()}
    async with served(lab, through(port, routes, web)):
        replies = await fetched({path: Target(port, "a.com", path) for path in expected})
    assert {path: reply.json()["path"] for path, reply in replies.items()} == expected


REDIRECTS: dict[str, tuple[Redirect, str, str]] = {
    "/scheme": (Redirect(scheme="https"), "a.com", "301 https://a.com/scheme/b?q=1"),
    "/old-default-port": (Redirect(scheme="https"), "a.com:80", "301 https://a.com/old-default-port/b?q=1"),
    "/kept-port": (Redirect(scheme="https"), "a.com:8080", "301 https://a.com:8080/kept-port/b?q=1"),
    "/port": (Redirect(302, port=8443), "a.com:8080", "302 http://a.com:8443/port/b?q=1"),
    "/host": (Redirect(303, host="b.com"), "a.com:8080", "303 http://b.com/host/b?q=1"),
    "/path": (Redirect(307, path="/new"), "a.com", "307 http://a.com/new?q=1"),
    "/prefix": (Redirect(308, prefix="/new/"), "a.com", "308 http://a.com/new/b?q=1"),
    "/root": (Redirect(prefix="/"), "a.com", "301 http://a.com/b?q=1"),
}


async def test_requests_are_redirected(lab: Lab) -> None:
    web, port = await lab.upstream("web"), free_port()
    routes = table(*(route(at(PATH_PREFIX, path), action) for path, (action, _, _) in REDIRECTS.items()))
    async with served(lab, through(port, routes, web)):
        replies = await fetched({path: Target(port, host, f"{path}/b?q=1") for path, (_, host, _) in REDIRECTS.items()})
    seen = {path: f"{reply.status} {reply.headers['location']}" for path, reply in replies.items()}
    assert seen == {path: expected for path, (_, _, expected) in REDIRECTS.items()}


HEADERS: dict[str, tuple[HeaderMatch, dict[str, bool]]] = {
    "/is": (HeaderMatch("x", string(EXACT, "1")), {"": False, "1": True, "2": False}),
    "/is-not": (HeaderMatch("x", string(EXACT, "1"), invert=True), {"": True, "1": False, "2": True}),
    "/has": (HeaderMatch("x", string(PRESENT)), {"": False, "1": True}),
    "/has-not": (HeaderMatch("x", string(PRESENT), invert=True), {"": True, "1": False}),
    "/starts": (HeaderMatch("x", string(PREFIX, "Ab", True)), {"": False, "aBc": True, "b": False}),
    "/regex": (HeaderMatch("x", string(REGEX, "a+", True)), {"aA": True, "ab": False}),
    "/regex-not": (HeaderMatch("x", string(REGEX, "a+"), invert=True), {"": True, "aa": False}),
}


async def test_headers_are_matched(lab: Lab) -> None:
    web, port = await lab.upstream("web"), free_port()
    matches = [Match(string(EXACT, path), (header,)) for path, (header, _) in HEADERS.items()]
    expected = {(path, value): found for path, (_, values) in HEADERS.items() for value, found in values.items()}
    async with served(lab, through(port, table(*(route(match, Respond(200)) for match in matches)), web)):
        replies = await fetched(
            {
                (path, value): Target(port, "a.com", path, headers=(("x", value),) if value else ())
                for path, value in expected
            }
        )
    assert {key: reply.ok for key, reply in replies.items()} == expected


async def test_headers_are_changed_both_ways_and_an_empty_one_counts(lab: Lab) -> None:
    web, port = await lab.upstream("web"), free_port()
    edits = HeaderEdits((("x-set", "new"), ("x-empty", "")), (("x-add", "2"),), ("x-gone",))
    sent = (("x-set", "old"), ("x-empty", "old"), ("x-add", "1"), ("x-gone", "old"))
    changed = route(
        Match(), to("web"), request_headers=edits, response_headers=HeaderEdits((("x-set", "new"),), (), ("server",))
    )
    async with served(lab, through(port, table(changed), web)):
        reply = await fetch(Target(port, "a.com", headers=sent))
    assert {name: reply.json()["headers"].get(name) for name in ("x-set", "x-empty", "x-add", "x-gone")} == {
        "x-set": "new",
        "x-empty": "",
        "x-add": "2",  # the upstream keeps the last of two lines
        "x-gone": None,
    }
    assert reply.headers["x-set"] == "new"


async def test_faults_stop_requests_and_preflights_are_answered(lab: Lab) -> None:
    web, port = await lab.upstream("web"), free_port()
    routes = table(
        route(at(PREFIX, "/broken"), to("web"), fault=Fault(http_status=418, abort_percent=100.0)),
        route(at(PREFIX, "/whole"), to("web"), fault=Fault(http_status=418, abort_percent=0.0)),
        route(at(PREFIX, "/cors"), to("web"), cors=Cors((string(EXACT, "https://a.com"),), ("PUT",))),
    )
    preflight = (("origin", "https://a.com"), ("access-control-request-method", "PUT"))
    async with served(lab, through(port, routes, web)):
        replies = await fetched(
            {
                "broken": Target(port, "a.com", "/broken"),
                "whole": Target(port, "a.com", "/whole"),
                "asked": Target(port, "a.com", "/cors", headers=preflight, method="OPTIONS"),
            }
        )
    assert {name: reply.status for name, reply in replies.items()} == {"broken": 418, "whole": 200, "asked": 200}
    assert replies["asked"].headers["access-control-allow-methods"] == "PUT"


def client_hello(server_name: str) -> bytes:
    """The first bytes of a TLS client that also speaks HTTP."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def closed(target: Target, sent: bytes) -> bool:
    """Whether a connection ends without an answer; it may be reset when not all was read."""
    try:
        return await exchange(target, sent) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("beside_tls", [False, True], ids=["alone", "beside TLS"])
async def test_http_is_detected_and_everything_else_passes_untouched(lab: Lab, beside_tls: bool) -> None:
    echo, port = await lab.upstream("postgres"), free_port()
    chains = [
        Chain("http", ChainMatch(detected_http=True), Http("t", "http")),
        Chain("rest", ChainMatch(), Tcp((Destination("echo"),), "tcp")),
        Chain("tls", ChainMatch(server_names=("known.com",)), Tcp((), "closed")),
    ]
    view = View(
        (listening(port, *chains[: 3 if beside_tls else 2]),),
        (),
        table(route(Match(), Respond(200, b"http"))),
        (backend("echo"),),
        (endpoints("echo", echo.port),),
    )
    target, hello, known = Target(port, "a.com"), client_hello("unknown.com"), client_hello("known.com")
    async with served(lab, view):
        assert (await fetch(target)).body == b"http"
        assert await exchange(target, b"hello\n", until=b"\n") == b"hello\n"
        assert await exchange(target, hello, until=hello) == hello
        if beside_tls:
            assert await closed(target, known)


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
        async with served(lab, View((http(port),), (), routes, backends, reached, SECRETS)):
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
    view = View((http(port, tls),), (), table(route(Match(), Respond(200))), secrets=SECRETS)

    targets = {who: Target(port, "web.example.com", tls=client_context(certificates[who])) for who in expected}
    async with served(lab, view):
        replies = await fetched(targets)
    assert {who: reply.ok for who, reply in replies.items()} == expected
