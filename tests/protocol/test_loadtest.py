"""The load test against this project's server, and against control planes that do everything differently or wrong."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.protocol.serving import DELTA_ADS, SOTW_ADS, Serving, serving, until
from tests.unit.loadtest.test_envoy import FULL, assignment
from xds_server.certs import Pair, authority, issued
from xds_server.envoy.resource import CLUSTER, LISTENER, Resource
from xds_server.loadtest.envoy import first_request
from xds_server.loadtest.fleet import Target
from xds_server.loadtest.nodes import node, numbered
from xds_server.loadtest.report import Report, report
from xds_server.loadtest.run import LoadTest, NobodyConnected, Plan
from xds_server.loadtest.triggers import TriggerFailed
from xds_server.loadtest.variants import DELTA, SOTW, Variant
from xds_server.xds.credentials import TlsFiles, credentials
from xds_server.xds.states import State
from xds_server.xds.wire import delta_response, sotw_response

from xds_server.xds.server import Options  # isort: skip

import grpc
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest

NOW = datetime.datetime.now(datetime.UTC)
CA = authority(NOW, 10)
NODE = {"metadata": {"ROLE": "sidecar", "NAMESPACE": "shop"}}

each_variant = pytest.mark.parametrize("variant", [DELTA, SOTW], ids=lambda variant: variant.name)


def plan(port: int, variant: Variant = DELTA, streams: int = 5, **changes: Any) -> Plan:
    first_requests = tuple(first_request(variant, numbered(node(NODE), number)) for number in range(streams))
    target = Target("127.0.0.1", port, f"127.0.0.1:{port}")
    return replace(Plan(target, variant, first_requests, duration=0.0, every=0.0, timeout=20.0), **changes)


async def run(todo: Plan) -> Report:
    test = LoadTest(todo)
    await test.run(asyncio.Event())
    return told(test)


@asynccontextmanager
async def running(todo: Plan) -> AsyncIterator[LoadTest]:
    """A test that is interrupted in the end."""
    test, stop = LoadTest(todo), asyncio.Event()
    task = asyncio.create_task(test.run(stop))
    try:
        yield test
    finally:
        stop.set()
        await task


def told(test: LoadTest) -> Report:
    return report(test.results, test.measured, "xds", test.plan.variant.name, False, ["sidecar"])


class Publish:
    """A trigger: another version of the endpoints."""

    def __init__(self, server: Serving) -> None:
        self._server = server
        self.restored = False

    async def pull(self, number: int) -> None:
        self._server.publish(world(number))

    def restore(self) -> None:
        self.restored = True


def world(number: int = 0) -> tuple[Resource, ...]:
    return (*FULL[:2], assignment("a", 200 + number), *FULL[3:])


@each_variant
async def test_every_envoy_is_configured_and_reached_by_every_change(variant: Variant) -> None:
    async with serving(world()) as server:
        trigger = Publish(server)
        made = await run(plan(server.port, variant, streams=20, trigger=trigger, rounds=3))
    assert made.flawless()
    assert made.rounds
    assert made.rounds.to_first_response
    assert (made.rounds.to_first_response.count, made.rounds.not_reached) == (60, 0)
    assert made.types == {"CDS": 20, "EDS": 80, "LDS": 20, "RDS": 20}
    assert made.watched
    assert made.watched.responses == 60
    assert trigger.restored


@each_variant
async def test_the_server_sees_proxies_that_are_in_step(variant: Variant) -> None:
    async with serving(world()) as server, running(plan(server.port, variant, duration=60.0)) as test:
        await until(lambda: len(test.results.configured) == 5)
        statuses = [stream.status() for stream in server.server.streams()]
        assert {status.proxy.namespace for status in statuses} == {"shop"}
        assert len({status.node for status in statuses}) == 5
        await until(lambda: {kind.state for s in server.server.streams() for kind in s.status().types} == IN_STEP)
    made = told(test)
    assert made.interrupted
    assert made.configured == 5


async def test_versions_are_followed_without_a_trigger() -> None:
    async with serving(world()) as server, running(plan(server.port, streams=4, duration=60.0)) as test:
        await until(lambda: test.phase == "watching")
        server.publish(world(1))
        await until(lambda: test.results.responses == 4 * 5)
    made = told(test)
    assert made.versions
    assert made.versions.spread
    assert (made.versions.versions, made.versions.spread.count) == (1, 4)


async def test_envoys_that_stall_do_not_hold_up_the_others() -> None:
    async with serving(world()) as server:
        todo = plan(server.port, streams=10, stalled=4, trigger=Publish(server), rounds=5)
        made = await run(todo)
    assert made.flawless()
    assert made.rounds
    assert made.rounds.to_first_response
    assert (made.rounds.to_first_response.count, made.rounds.not_reached) == (30, 0)
    assert made.stalled
    assert (made.stalled.streams, made.stalled.closed) == (4, 0)
    assert made.stalled.responses >= 4


async def test_stalled_streams_that_the_server_ends_are_no_errors() -> None:
    class Restart:
        """A trigger that ends the streams of the proxies that do not read, as keepalive does."""

        async def pull(self, number: int) -> None:
            for stream in server.server.streams():
                if stream.node.split("~")[2] in ("loadtest-0.shop", "loadtest-2.shop"):
                    stream.end(grpc.StatusCode.UNAVAILABLE, "too slow")
            server.publish(world(number))

        def restore(self) -> None: ...

    async with serving(world()) as server:
        made = await run(plan(server.port, streams=4, stalled=2, trigger=Restart(), rounds=1))
    assert made.stalled
    assert (made.stalled.streams, made.stalled.closed) == (2, 2)
    assert made.flawless()


async def test_a_trigger_that_fails_ends_the_test() -> None:
    class Failing:
        async def pull(self, number: int) -> None:
            raise TriggerFailed("it does not work")

        def restore(self) -> None: ...

    async with serving(world()) as server:
        made = await run(plan(server.port, trigger=Failing()))
    assert made.trigger_error == "it does not work"
    assert not made.flawless()


def files(folder: Path, name: str, pair: Pair) -> tuple[str, str]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    return str(certificate), str(key)


@asynccontextmanager
async def secured(folder: Path, clients: bool) -> AsyncIterator[Serving]:
    ca = folder / "ca.pem"
    ca.write_bytes(CA.certificate)
    certificate, key = files(folder, "server", issued(CA, ["localhost", "127.0.0.1"], NOW, 5))
    tls = TlsFiles(certificate, key, str(ca) if clients else "")
    trust_domain = "cluster.local" if clients else ""
    options = Options(port=0, credentials=credentials(tls), trust_domain=trust_domain)
    async with serving(world(), options) as server:
        yield server


def over_tls(server: Serving, folder: Path, account: str = "", ca: Pair = CA, **changes: Any) -> Plan:
    context = ssl.create_default_context(cadata=ca.certificate.decode())
    context.set_alpn_protocols(["h2"])
    if account:
        identity = f"spiffe://cluster.local/ns/shop/sa/{account}"
        context.load_cert_chain(*files(folder, "client", issued(CA, [identity], NOW, 5)))
    todo = plan(server.port, **changes)
    return replace(todo, target=replace(todo.target, tls=context, server_name="localhost"))


@each_variant
@pytest.mark.parametrize("clients", [False, True], ids=["TLS", "mutual TLS"])
async def test_over(variant: Variant, clients: bool, tmp_path: Path) -> None:
    async with secured(tmp_path, clients) as server:
        todo = over_tls(server, tmp_path, "default" if clients else "", variant=variant, stalled=2)
        made = await run(replace(todo, trigger=Publish(server), rounds=2))
    assert made.flawless()
    assert made.rounds
    assert made.rounds.not_reached == 0


REFUSED = {
    "another's certificate": ({"account": "thief"}, "PERMISSION_DENIED.*see --proxy and --tls-cert"),
    "no certificate": ({}, "--tls-cert and --tls-key"),
    "an authority that is not trusted": (
        {"ca": authority(NOW, 10), "account": "default"},
        "CERTIFICATE_VERIFY_FAILED.*see --tls-ca",
    ),
}


@pytest.mark.parametrize(("client", "words"), REFUSED.values(), ids=REFUSED.keys())
async def test_who_is_refused_for(client: dict[str, Any], words: str, tmp_path: Path) -> None:
    async with secured(tmp_path, clients=True) as server:
        with pytest.raises(NobodyConnected, match=words):
            await run(over_tls(server, tmp_path, **client))


async def test_without_tls_where_it_is_needed(tmp_path: Path) -> None:
    async with secured(tmp_path, clients=True) as server:
        with pytest.raises(NobodyConnected, match="it may want TLS"):
            await run(plan(server.port))


IN_STEP = {State.SYNCED, State.NOT_SENT}
"""There are no secrets."""

Handler = Callable[[Any, Any], Awaitable[None]]


@asynccontextmanager
async def control_plane(handler: Handler | None) -> AsyncIterator[int]:
    """A bare gRPC server whose streams are all served by the handler; without one, it serves nothing."""
    server = grpc.aio.server()
    if handler:
        both = grpc.stream_stream_rpc_method_handler(handler)
        service, _, sotw = SOTW_ADS.strip("/").partition("/")
        methods = {sotw: both, DELTA_ADS.rpartition("/")[2]: both}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def unready(requests: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "warming up: 50%")


async def unknown(requests: Any, context: Any) -> None:
    await context.read()
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")


async def invalid(requests: Any, context: Any) -> None:
    await context.read()
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such cluster")


async def silent(requests: Any, context: Any) -> None:
    await context.read()


async def gibberish(requests: Any, context: Any) -> None:
    await context.write(b"\xff\xff")
    await context.read()


ENDINGS: dict[str, tuple[Handler | None, str]] = {
    "UNAVAILABLE": (unready, "UNAVAILABLE: warming up: 50%; the control plane is not ready"),
    "UNAUTHENTICATED": (unknown, "UNAUTHENTICATED: who are you.; .*--tls-cert"),
    "INVALID_ARGUMENT": (invalid, "INVALID_ARGUMENT: no such cluster; .*--proxy"),
    "OK": (silent, "OK"),
    "a response that is none": (gibberish, "a response cannot be decoded"),
    "no such method": (None, "UNIMPLEMENTED.*--variant"),
}


@each_variant
@pytest.mark.parametrize(("handler", "words"), ENDINGS.values(), ids=ENDINGS.keys())
async def test_a_control_plane_that_ends_streams_with(handler: Handler | None, words: str, variant: Variant) -> None:
    async with control_plane(handler) as port:
        with pytest.raises(NobodyConnected, match=words):
            await run(plan(port, variant))


async def test_nothing_listens() -> None:
    async with control_plane(None) as port:
        pass
    with pytest.raises(NobodyConnected, match=r"Connect.*refused.*nothing listens there"):
        await run(plan(port))


async def test_a_web_server() -> None:
    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        writer.close()

    web = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with web:
        with pytest.raises(NobodyConnected, match=r"it says 'HTTP/1.1 400 Bad Request'; this is no gRPC port"):
            await run(plan(web.sockets[0].getsockname()[1]))


class Counting:
    """A control plane as simple as can be: nonces of each stream count from 1, versions are its own, and the first
    streams end early. Only clusters and listeners are asked for; there are none."""

    def __init__(self, variant: Variant, ending: int = 0) -> None:
        self._variant, self._ending = variant, ending
        self.accepted: list[tuple[str, str]] = []

    async def serve(self, requests: Any, context: Any) -> None:
        request_class = DiscoveryRequest if self._variant is SOTW else DeltaDiscoveryRequest
        assemble = sotw_response if self._variant is SOTW else delta_response
        nonce = 0
        while isinstance(raw := await context.read(), bytes):
            request = request_class.FromString(raw)
            if request.response_nonce:
                self.accepted.append((request.type_url, request.response_nonce))
                continue
            if request.type_url == LISTENER and self._ending > 0:
                self._ending -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "rolling out")
            nonce += 1
            await context.write(assemble(str(nonce), "", request.type_url, f"v-{id(context)}", ()))


@each_variant
async def test_streams_that_end_are_opened_again(variant: Variant) -> None:
    handler = Counting(variant, ending=3)
    async with control_plane(handler.serve) as port, running(plan(port, variant, duration=60.0)) as test:
        await until(lambda: len(handler.accepted) == 5 * 2)
    made = told(test)
    assert made.configured == 5
    [trouble] = made.errors
    assert (trouble.error, trouble.count) == ("UNAVAILABLE: rolling out", 3)
    assert not made.flawless()
    assert sorted(handler.accepted) == sorted([(CLUSTER, "1")] * 5 + [(LISTENER, "2")] * 5)


async def test_a_control_plane_that_goes_away() -> None:
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(Counting(DELTA).serve)
    service, _, method = DELTA_ADS.strip("/").partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with running(plan(port, duration=60.0)) as test:
        await until(lambda: test.phase == "watching")
        await server.stop(0)
        await until(lambda: sum(errors.total() for errors in test.results.errors.values()) >= 5)
    made = told(test)
    assert made.configured == 5
    assert {word for trouble in made.errors for word in trouble.error.split()} & {"UNAVAILABLE:", "CANCELLED:"}


async def test_what_is_never_sent_is_named_when_time_is_up() -> None:
    async def only_clusters(requests: Any, context: Any) -> None:
        await context.write(delta_response("1", "", CLUSTER, "1", ()))
        while isinstance(await context.read(), bytes):
            pass

    async with control_plane(only_clusters) as port:
        made = await run(plan(port, timeout=0.5))
    assert made.configured == 0
    assert made.waiting
    assert made.waiting.missing == ["LDS"]
    assert not made.flawless()
