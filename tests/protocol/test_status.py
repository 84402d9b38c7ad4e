"""What is seen from outside: CSDS, metrics, limits."""

from __future__ import annotations

from xds_server.xds.server import Options  # isort: skip

import grpc
import pytest
from envoy.service.status.v3.csds_pb2 import ClientConfig, ClientStatusRequest, ClientStatusResponse, ConfigStatus
from google.protobuf import json_format
from prometheus_client import CollectorRegistry, generate_latest

from tests.protocol.client import CDS, RDS, SDS, cluster, route, secret
from tests.protocol.serving import DeltaCall, Serving, serving, until
from xds_server.xds.metrics import DeliveryMetrics
from xds_server.xds.states import State

FETCH = "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus"
STREAM = "/envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus"


async def fetch(server: Serving, request: ClientStatusRequest | None = None) -> list[ClientConfig]:
    async with server.channel() as channel:
        call = channel.unary_unary(FETCH)
        raw = await call((request or ClientStatusRequest()).SerializeToString())
        return list(ClientStatusResponse.FromString(raw).config)


def states(config: ClientConfig) -> dict[str, str]:
    return {c.name: ConfigStatus.Name(c.config_status) for c in config.generic_xds_configs}


async def test_10_4_csds_says_what_became_of_each_resource() -> None:
    resources = [cluster("a"), cluster("b"), secret("key")]
    async with serving(resources) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS, ["a"])
        await call.read()
        await call.ask(SDS, ["key"])
        await call.read()
        await until(
            lambda: {t.state for p in server.fleet.proxies() for t in p.types} == {State.SYNCED, State.NOT_SENT}
        )
        [config] = await fetch(server)
        assert config.node.id == "router~1.2.3.4~gw.ns~x"
        assert states(config) == {"a": "SYNCED", "key": "SYNCED"}
        shown = {c.name: c.xds_config.value for c in config.generic_xds_configs}
        assert shown == {"a": resources[0].body, "key": b""}
        assert {c.version_info for c in config.generic_xds_configs} == {"a-1", "key-1"}


async def test_10_4_csds_tells_errors_with_the_words_of_the_proxy() -> None:
    async with serving([cluster("a")]) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        raw = await call.call.read()
        assert isinstance(raw, bytes)
        refusal = {"code": 13, "message": "no such thing"}
        await call.ask(CDS, response_nonce="1", error_detail=refusal)
        await until(lambda: bool(server.fleet.diagnostics()))
        [config] = await fetch(server)
        [found] = config.generic_xds_configs
        assert (ConfigStatus.Name(found.config_status), found.error_state.details) == ("ERROR", "no such thing")


async def test_10_4_csds_tells_what_is_sent_and_what_is_not() -> None:
    async with serving([cluster("a")]) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        raw = await call.call.read()
        assert isinstance(raw, bytes)
        assert [states(config) for config in await fetch(server)] == [{"a": "STALE"}]
        call.call.cancel()
        await until(lambda: not server.fleet.proxies())
        call = DeltaCall(channel)
        await call.ask(SDS, ["key"])
        await until(lambda: bool(server.fleet.proxies()))
        assert {t.state for p in server.fleet.proxies() for t in p.types} == {State.NOT_SENT}


@pytest.mark.parametrize(
    ("matchers", "found"),
    [
        ([], 2),
        ([{"nodeId": {"exact": "one"}}], 1),
        ([{"nodeId": {"prefix": "on"}}, {"nodeId": {"suffix": "WO", "ignoreCase": True}}], 2),
        ([{"nodeId": {"contains": "x"}}], 0),
    ],
    ids=["without matchers all", "exact", "any of two", "none"],
)
async def test_10_4_csds_matches_nodes(matchers: list[dict[str, object]], found: int) -> None:
    request = json_format.ParseDict({"nodeMatchers": matchers, "excludeResourceContents": True}, ClientStatusRequest())
    async with serving([cluster("a")]) as server, server.channel() as channel:
        for node in ("one", "two"):
            call = DeltaCall(channel, node=node)
            await call.ask(CDS)
            await call.read()
        configs = await fetch(server, request)
        assert len(configs) == found
        assert all(not c.HasField("xds_config") for config in configs for c in config.generic_xds_configs)


async def test_10_4_csds_answers_each_request_of_a_stream() -> None:
    async with serving([cluster("a")]) as server, server.channel() as channel:
        call = channel.stream_stream(STREAM)()
        for _ in range(2):
            await call.write(ClientStatusRequest().SerializeToString())
            assert ClientStatusResponse.FromString(await call.read()).config == []
        call.cancel()


async def test_10_4_csds_refuses_matchers_that_it_does_not_know() -> None:
    request = json_format.ParseDict(
        {"nodeMatchers": [{"nodeId": {"safeRegex": {"regex": "a"}}}]}, ClientStatusRequest()
    )
    async with serving([cluster("a")]) as server, server.channel() as channel:
        await DeltaCall(channel).ask(CDS)
        await until(lambda: bool(server.fleet.proxies()))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fetch(server, request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_10_4_csds_can_be_left_out() -> None:
    async with serving([], Options(port=0, introspection=False)) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fetch(server)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def metrics(server: Serving) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(DeliveryMetrics(server.fleet))
    text = generate_latest(registry).decode()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}


async def test_10_6_metrics_count_streams_pushes_bytes_refusals_and_times() -> None:
    async with serving([cluster("a")]) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        await call.read()
        server.publish([cluster("a", "2")])
        raw = await call.call.read()
        assert isinstance(raw, bytes)
        await call.ask(CDS, response_nonce="2", error_detail={"code": 13, "message": "no"})
        await until(lambda: bool(server.fleet.diagnostics()))
        found = metrics(server)
        assert found['xds_server_streams{variant="delta"}'] == 1
        assert found['xds_server_pushes_total{type="cds"}'] == 2
        assert found['xds_server_push_bytes_total{type="cds"}'] > len(raw)
        assert found['xds_server_nacks_total{type="cds"}'] == 1
        assert found['xds_server_resources{state="refused",type="cds"}'] == 1
        assert found['xds_server_stream_types{state="ERROR",type="cds"}'] == 1
        assert found['xds_server_ack_seconds_count{type="cds"}'] == 1
        assert found["xds_server_convergence_seconds_count"] == 1
        assert found["xds_server_translation_seconds_count"] >= 1


async def test_10_6_a_client_that_takes_names_back_is_up_to_date_with_that() -> None:
    counted = "xds_server_convergence_seconds_count"
    async with serving([route("r", "x"), cluster("x")]) as server, server.channel() as channel:
        call = DeltaCall(channel)
        for type_url, name in ((RDS, "r"), (CDS, "x")):
            await call.ask(type_url, [name])
            await call.read()
        await until(lambda: metrics(server)[counted] == 1)
        server.publish([route("r", "y"), cluster("y")])
        await call.read()
        await call.ask(CDS, ["y"])
        await call.read()
        assert metrics(server)[counted] == 1
        await call.ask(CDS, resource_names_unsubscribe=["x"])
        await until(lambda: metrics(server)[counted] == 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(port=0, requests_per_second=1), "too many requests"),
        (Options(port=0, streams_per_second=0.2), "too many new streams"),
    ],
    ids=["requests on one stream", "new streams"],
)
async def test_x16_clients_that_are_too_fast_are_told_so(options: Options, words: str) -> None:
    async with serving([cluster("a")], options) as server, server.channel() as channel:
        first = DeltaCall(channel)
        await first.ask(CDS)
        await first.read()
        last = first if options.requests_per_second == 1 else DeltaCall(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await hammer(last)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert words in (caught.value.details() or "")


async def hammer(call: DeltaCall) -> None:
    for _ in range(10):
        await call.ask(CDS, ["a"])
        await call.call.read()
