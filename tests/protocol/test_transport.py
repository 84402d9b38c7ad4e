"""What the gRPC server does, on a real connection (T01 to T11, X02, X13 to X17 of the specification's checklist)."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import AsyncExitStack, suppress

import pytest

from tests.protocol.client import CDS, EDS, LDS, RDS, SDS, assignment, cluster, resource
from tests.protocol.serving import DELTA_ADS, SOTW_ADS, DeltaCall, Serving, serving, until

from xds_server.xds.server import SERVICES, Options, channel_options  # isort: skip
import grpc
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest, DiscoveryResponse
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from xds_server.envoy.resource import Resource
from xds_server.xds.session import Session
from xds_server.xds.substitute import Published

Code = grpc.StatusCode
SMALL = (cluster("a"), assignment("a"))


async def status_of(server: Serving, message: bytes, method: str = SOTW_ADS) -> tuple[Code, str]:
    """How a stream ends whose first message this is."""
    async with server.channel() as channel:
        call = channel.stream_stream(method)()
        if message:
            with suppress(grpc.aio.AioRpcError):  # the server may have refused before it read anything
                await call.write(message)
        return await call.code(), await call.details()


async def still_serves(server: Serving) -> bool:
    async with server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        return [r.name for r in (await call.read()).resources] == ["a"]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (DiscoveryRequest(node=Node(id="x")).SerializeToString(), "type_url"),
        (DiscoveryRequest(type_url=CDS).SerializeToString(), "node"),
        (DiscoveryRequest(type_url=CDS, node=Node()).SerializeToString(), "node.id"),
        (b"\xff\xff\xff", "not a DiscoveryRequest"),
    ],
    ids=["t01 no type", "t02 no node", "t02 no node id", "t09 garbage"],
)
async def test_t01_t02_t09_a_broken_first_message_ends_that_stream_only(message: bytes, words: str) -> None:
    async with serving(SMALL) as server:
        code, details = await status_of(server, message)
        assert code is Code.INVALID_ARGUMENT
        assert words in details
        assert await still_serves(server)


async def test_x17_a_node_with_nonsense_is_told_what_is_wrong() -> None:
    node = Node(id="x")
    node.metadata["ROLE"] = "king"
    async with serving(SMALL) as server:
        code, details = await status_of(server, DiscoveryRequest(type_url=CDS, node=node).SerializeToString())
        assert (code, "ROLE is 'king'" in details) == (Code.INVALID_ARGUMENT, True)


async def test_t03_frequent_pings_are_allowed() -> None:
    """A server with gRPC's default policy says GOAWAY too_many_pings to the fourth (go-control-plane#449)."""
    pings = (
        ("grpc.keepalive_time_ms", 10),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    async with serving(SMALL) as server, server.channel(*pings) as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        await call.read()
        for i in range(20):
            server.publish((cluster("a", str(i)), assignment("a")))
            assert (await call.read()).resources[0].version == f"a-{i}"


async def test_t04_a_reconnecting_client_may_list_millions_of_bytes() -> None:
    async with serving(SMALL) as server, server.channel(("grpc.max_send_message_length", -1)) as channel:
        call = DeltaCall(channel)
        versions = {f"cluster-number-{i}": "0123456789abcdef" for i in range(200_000)}
        await call.ask(CDS, initial_resource_versions=versions)
        assert [r.name for r in (await call.read()).resources] == ["a"]


async def test_x13_large_answers_are_split_so_that_every_client_takes_them() -> None:
    """gRPC clients accept 4 MiB by default."""
    big = [resource(EDS, f"{i:02}", "x" * 2**20) for i in range(12)]
    async with serving(big) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(EDS, ["*"])
        names: list[str] = []
        while len(names) < 12:
            names += [r.name for r in (await call.read()).resources]
        assert names == sorted(r.name for r in big)


async def test_t05_many_streams_on_one_connection() -> None:
    async with serving(SMALL) as server, server.channel() as channel:
        calls = [DeltaCall(channel) for _ in range(120)]
        for call in calls:
            await call.ask(CDS)
        assert [len((await call.read()).resources) for call in calls] == [1] * 120
        assert len(server.fleet.proxies()) == 120


async def test_t06_streams_that_are_cancelled_leave_nothing_behind() -> None:
    async with serving(SMALL) as server:
        await still_serves(server)
        await until(lambda: not server.fleet.proxies())
        before = len(asyncio.all_tasks())
        async with server.channel() as channel:
            for _ in range(200):
                call = DeltaCall(channel)
                await call.ask(CDS)
                call.call.cancel()
        await until(lambda: not server.fleet.proxies())
        gc.collect()
        await until(lambda: len(asyncio.all_tasks()) <= before)
        assert await still_serves(server)


async def test_t07_a_client_that_closes_its_side_ends_the_stream_well() -> None:
    async with serving(SMALL) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        await call.read()
        await call.call.done_writing()
        assert await call.call.code() is Code.OK
        await until(lambda: not server.fleet.proxies())


async def test_t08_a_client_that_never_reads_hurts_nobody_and_gets_the_newest_in_the_end() -> None:
    async with serving([resource(EDS, "a", "0-" + "x" * 2**20)]) as server:
        window = (("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0))
        async with server.channel(*window) as stuck_channel, server.channel() as channel:
            stuck, other = DeltaCall(stuck_channel, node="stuck"), DeltaCall(channel, node="other")
            await stuck.ask(EDS, ["a"])
            await other.ask(EDS, ["a"])
            await other.read()
            for i in range(1, 30):
                server.publish([resource(EDS, "a", f"{i}-" + "x" * 2**20)])
                await other.read()
            got = [(await stuck.read()).resources[0].resource.value[:10]]
            while not got[-1].startswith(b"a=29-"):
                got.append((await stuck.read()).resources[0].resource.value[:10])
            assert len(got) < 15


async def test_t12_clients_that_stop_reading_hold_a_few_old_resources_and_never_a_queue_of_them() -> None:
    window = (("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0))
    published: weakref.WeakSet[Resource] = weakref.WeakSet()

    def change(number: int) -> list[Resource]:
        new = resource(EDS, "a", f"{number}-" + "x" * 2**20)
        published.add(new)
        return [new]

    async with serving(change(0)) as server, AsyncExitStack() as channels:
        stuck = [
            DeltaCall(await channels.enter_async_context(server.channel(*window)), node=f"stuck-{i}") for i in range(5)
        ]
        reader = DeltaCall(await channels.enter_async_context(server.channel()), node="reader")
        for call in (*stuck, reader):
            await call.ask(EDS, ["a"])
        await reader.read()
        for number in range(1, 30):
            server.publish(change(number))
            await reader.read()
        gc.collect()
        # The newest, the one before, and what each client was last given.
        assert len(published) <= 2 + len(stuck)


async def test_a_bug_ends_its_stream_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    publish = Session.publish
    broken: list[Session] = []

    def breaks_the_first(session: Session, published: Published) -> None:
        if published is not session._published:
            broken.append(session)
            if broken == [session]:
                raise RuntimeError("a bug")
        publish(session, published)

    monkeypatch.setattr(Session, "publish", breaks_the_first)
    async with serving(SMALL) as server, server.channel() as channel:
        calls = [DeltaCall(channel), DeltaCall(channel)]
        for call in calls:
            await call.ask(CDS)
            await call.read()
        server.publish((cluster("a", "2"), assignment("a")))
        assert await calls[0].call.code() is Code.UNKNOWN
        assert (await calls[1].read()).resources[0].version == "a-2"
        assert len(server.fleet.proxies()) == 1


@pytest.mark.parametrize(
    "method",
    [
        "envoy.api.v2.ClusterDiscoveryService/StreamClusters",
        "envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats",
        "envoy.service.health.v3.HealthDiscoveryService/StreamHealthCheck",
        "envoy.service.route.v3.VirtualHostDiscoveryService/DeltaVirtualHosts",
        "envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs",
        "envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime",
        "x/y",
    ],
)
async def test_t11_10_1_10_3_other_services_are_unimplemented(method: str) -> None:
    async with serving(SMALL) as server:
        code, _ = await status_of(server, b"", f"/{method}")
        assert code is Code.UNIMPLEMENTED


@pytest.mark.parametrize(("service", "noun"), [(s, noun) for s, (noun, t) in SERVICES.items() if t])
async def test_5_rest_there_is_no_second_door_by_fetch(service: str, noun: str) -> None:
    async with serving(SMALL) as server:
        code, _ = await status_of(server, b"", f"/{service}/Fetch{noun}")
        assert code is Code.UNIMPLEMENTED


@pytest.mark.parametrize(("service", "noun", "type_url"), [(s, noun, t) for s, (noun, t) in SERVICES.items() if t])
async def test_s40_s41_5_services_of_one_type(service: str, noun: str, type_url: str) -> None:
    node = Node(id="x")
    async with serving([resource(t, "a") for t in (CDS, EDS, LDS, RDS, SDS)]) as server, server.channel() as channel:
        delta = channel.stream_stream(f"/{service}/Delta{noun}")()
        await delta.write(DeltaDiscoveryRequest(node=node, resource_names_subscribe=["a"]).SerializeToString())
        sotw = channel.stream_stream(f"/{service}/Stream{noun}")()
        await sotw.write(DiscoveryRequest(node=node, resource_names=["a"]).SerializeToString())
        assert f"{type_url}".encode() in await delta.read()
        assert DiscoveryResponse.FromString(await sotw.read()).type_url == type_url
        other = channel.stream_stream(f"/{service}/Stream{noun}")()
        wrong = RDS if type_url == CDS else CDS
        await other.write(DiscoveryRequest(node=node, type_url=wrong).SerializeToString())
        assert await other.code() is Code.INVALID_ARGUMENT


async def health(server: Serving) -> int:
    async with server.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int((await stub.Check(health_pb2.HealthCheckRequest())).status)


async def test_x02_10_5_nothing_is_answered_before_the_sources_are_synced() -> None:
    async with serving(None) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        reading = asyncio.create_task(call.read())
        await until(lambda: bool(server.fleet.groups()))
        assert await health(server) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not reading.done()
        server.publish(SMALL)
        assert [r.name for r in (await reading).resources] == ["a"]
        await until(server.fleet.synced.is_set)
        assert await health(server) == health_pb2.HealthCheckResponse.SERVING


async def test_x14_an_old_connection_is_asked_to_go_but_its_stream_goes_on() -> None:
    async with serving(SMALL, Options(port=0, max_age=0.5)) as server, server.channel() as channel:
        first = DeltaCall(channel, node="first")
        await first.ask(CDS)
        await first.read()
        moved = False
        while not moved:  # the connection is the first one's for as long as the server takes new streams on it
            later = DeltaCall(channel, node="later")
            await later.ask(CDS)
            await later.read()
            moved = len({proxy.peer for proxy in server.fleet.proxies()}) > 1
            later.call.cancel()
        server.publish((cluster("a", "2"), assignment("a")))
        assert (await first.read()).resources[0].version == "a-2"


def test_x14_by_default_connections_live_as_long_as_they_like() -> None:
    names = {name for name, _ in channel_options(Options())}
    assert not names & {"grpc.max_connection_age_ms", "grpc.max_connection_age_grace_ms"}


async def test_x15_draining_ends_streams_and_refuses_new_ones() -> None:
    async with serving(SMALL) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        await call.read()
        await server.server.drain(5)
        assert await call.call.code() is Code.UNAVAILABLE
        assert "going away" in await call.call.details()
        assert not server.fleet.proxies()


async def test_x16_streams_over_the_limit_are_refused_clearly() -> None:
    async with serving(SMALL, Options(port=0, max_streams=1)) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        await call.read()
        request = DeltaDiscoveryRequest(type_url=CDS, node=Node(id="x")).SerializeToString()
        code, details = await status_of(server, request, DELTA_ADS)
        assert (code, details) == (Code.RESOURCE_EXHAUSTED, "too many streams")
        call.call.cancel()
        await until(lambda: not server.fleet.proxies())
        assert await still_serves(server)


async def test_x16_new_streams_over_the_rate_are_refused_clearly() -> None:
    """A burst of at least one is always allowed, or nobody could ever connect."""
    async with serving(SMALL, Options(port=0, streams_per_second=0.001)) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        await call.read()
        request = DeltaDiscoveryRequest(type_url=CDS, node=Node(id="x")).SerializeToString()
        code, details = await status_of(server, request, DELTA_ADS)
        assert (code, details) == (Code.RESOURCE_EXHAUSTED, "too many new streams; try again later")
        assert server.fleet.tally.refused_streams == {"RESOURCE_EXHAUSTED": 1}
        server.publish((cluster("a", "2"), assignment("a")))
        assert (await call.read()).resources[0].version == "a-2"


async def test_x16_a_stream_that_asks_too_fast_ends() -> None:
    async with serving(SMALL, Options(port=0, requests_per_second=0.001)) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        await call.read()  # and the acknowledgement is the second request
        assert await call.call.code() is Code.RESOURCE_EXHAUSTED
        assert await call.call.details() == "too many requests on this stream"


async def test_t04_a_request_over_the_limit_ends_its_stream_only() -> None:
    request = DeltaDiscoveryRequest(type_url=CDS, node=Node(id="x"), resource_names_subscribe=["n" * 5000])
    async with serving(SMALL, Options(port=0, max_request_bytes=4096)) as server:
        code, details = await status_of(server, request.SerializeToString(), DELTA_ADS)
        assert (code, "larger than max" in details) == (Code.RESOURCE_EXHAUSTED, True)
        assert await still_serves(server)


def peers(server: Serving) -> set[str]:
    return {row.peer for row in server.fleet.proxies()}


async def test_x14_a_client_that_was_answered_is_asked_to_connect_anew() -> None:
    async with serving(SMALL, Options(port=0, max_age=0.1)) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        await call.read()
        [first] = peers(server)
        assert await call.call.code() is Code.UNAVAILABLE
        assert "connect again" in await call.call.details()
        again = DeltaCall(channel)
        await again.ask(CDS)
        await again.read()
        [second] = peers(server)
        assert second != first


async def test_x14_a_stream_that_was_not_answered_yet_outlives_its_connections_age() -> None:
    """A client would take its end for a failure (gRFC A57)."""
    async with serving(None, Options(port=0, max_age=0.1)) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        reading = asyncio.create_task(call.read())
        await until(lambda: bool(peers(server)))
        others: list[DeltaCall] = []
        while len(peers(server)) < 3:  # new streams are on other connections: the first is old by now
            others.append(DeltaCall(channel))
            await others[-1].ask(CDS)
            await until(lambda: len(server.fleet.proxies()) == 1 + len(others))
        assert not reading.done()
        server.publish(SMALL)
        assert [r.name for r in (await reading).resources] == ["a"]
        assert await call.call.code() is Code.UNAVAILABLE


async def test_without_introspection_nobody_is_told() -> None:
    async with serving(SMALL, Options(port=0, introspection=False)) as server:
        service = "envoy.service.status.v3.ClientStatusDiscoveryService"
        assert (await status_of(server, b"", f"/{service}/StreamClientStatus"))[0] is Code.UNIMPLEMENTED


async def test_a_port_that_is_taken_is_an_error_and_not_shared() -> None:
    async with serving(SMALL) as server:
        with pytest.raises(OSError, match="cannot listen"):
            async with serving(SMALL, Options(port=server.port)):
                pass


async def test_10_5_the_services_are_listed_by_reflection() -> None:
    async with serving(SMALL) as server, server.channel() as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        async for response in call:
            listed = {service.name for service in response.list_services_response.service}
            assert set(SERVICES) < listed
            break
        call.cancel()
