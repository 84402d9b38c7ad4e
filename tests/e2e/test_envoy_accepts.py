"""A real Envoy accepts all that can be said, and does with it what the neutral model promises."""

from __future__ import annotations

import asyncio
import ssl

import msgspec
import pytest
import trustme

from tests.e2e.harness import Lab
from tests.e2e.static_envoy import backend, endpoints, fetched, listening, route, served, table, through, to
from tests.envoy_config import static_bootstrap, validate
from tests.objects import named
from tests.unit.envoy.full import EXACT, PATH_PREFIX, PREFIX, PRESENT, REGEX, at, full_view, string
from xds_server.demo.client import Target, exchange, fetch
from xds_server.demo.ports import free_port
from xds_server.envoy.build import build
from xds_server.memo import no_memo
from xds_server.mesh.model import (
    Chain,
    ChainMatch,
    Cors,
    Destination,
    Fault,
    HeaderEdits,
    HeaderMatch,
    Http,
    Match,
    Redirect,
    Respond,
    Rewrite,
    Tcp,
    View,
)


async def test_a_view_that_uses_every_field(lab: Lab) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("web.example.com")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    view = full_view(chain, leaf.private_key_pem.bytes(), authority.cert_pem.bytes())
    view = msgspec.structs.replace(view, grpc_servers=())  # Envoy refuses what they answer with
    resources, bugs = build(named(view), no_memo)
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
        listeners=(listening(port, *chains[: 3 if beside_tls else 2]),),
        route_tables=table(route(Match(), Respond(200, b"http"))),
        backends=(backend("echo"),),
        endpoints=(endpoints("echo", echo.port),),
    )
    target, hello, known = Target(port, "a.com"), client_hello("unknown.com"), client_hello("known.com")
    async with served(lab, view):
        assert (await fetch(target)).body == b"http"
        assert await exchange(target, b"hello\n", until=b"\n") == b"hello\n"
        assert await exchange(target, hello, until=hello) == hello
        if beside_tls:
            assert await closed(target, known)
