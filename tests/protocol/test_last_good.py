"""A server that starts while its sources cannot be read serves what it served before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from structlog.testing import capture_logs

from tests.protocol.client import CDS, SDS, assignment, cluster, secret
from tests.protocol.serving import SOTW_ADS, DeltaCall, Serving, serving, until
from xds_server.envoy.resource import keyed
from xds_server.last_good import LastGood
from xds_server.state_file import StateError, StateFile
from xds_server.xds.group import Group, offered
from xds_server.xds.request import Meaning
from xds_server.xds.session import Verdict
from xds_server.xds.shared import Shared

OLD = (cluster("a"), assignment("a"), secret("key"))


async def run_once(path: Path) -> None:
    """A server that a proxy connects to, and that ends."""
    async with serving(OLD, last_good=LastGood(StateFile(path))) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        await call.read()
        await until(lambda: saved(path) == {r.name for r in OLD if r.type_url != SDS})


def saved(path: Path) -> set[str]:
    try:
        groups = LastGood(StateFile(path)).load()
    except StateError:
        return set()
    return {resource.name for resources in groups.values() for resource in resources}


async def names(server: Serving, **fields: object) -> list[str]:
    async with server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS, **fields)
        return [r.name for r in (await call.read()).resources]


async def test_without_sources_proxies_get_what_they_got_before_and_it_is_said_to_be_old(tmp_path: Path) -> None:
    await run_once(tmp_path / "state")
    async with serving(None, last_good=LastGood(StateFile(tmp_path / "state"))) as server:
        assert await names(server) == ["a"]
        assert [d.code for d in server.fleet.diagnostics()] == ["XDS7003"]
        assert not server.fleet.synced.is_set()
        assert server.fleet.answering.is_set()
        server.publish([cluster("new"), assignment("new")])
        await until(server.fleet.synced.is_set)
        assert await names(server) == ["new"]
        assert server.fleet.diagnostics() == ()


async def test_a_proxy_that_has_what_was_served_is_sent_nothing_again(tmp_path: Path) -> None:
    await run_once(tmp_path / "state")
    async with serving(None, last_good=LastGood(StateFile(tmp_path / "state"))) as server:
        assert await names(server, initial_resource_versions={"a": "a-1"}) == []


async def test_a_proxy_of_an_unknown_group_waits_for_the_sources(tmp_path: Path) -> None:
    await run_once(tmp_path / "state")
    async with serving(None, last_good=LastGood(StateFile(tmp_path / "state"))) as server, server.channel() as channel:
        await until(server.fleet.answering.is_set)
        call = DeltaCall(channel, node="sidecar~1.2.3.4~other.elsewhere~x")
        await call.ask(CDS)
        reading = asyncio.create_task(call.read())
        await until(lambda: len(server.fleet.proxies()) == 1)
        assert not reading.done()
        server.publish(OLD)
        assert [r.name for r in (await reading).resources] == ["a"]


async def test_when_the_translation_fails_proxies_get_what_they_got_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_once(tmp_path / "state")
    monkeypatch.setattr(Serving, "_translate", lambda *_: 1 / 0)
    async with serving(OLD, last_good=LastGood(StateFile(tmp_path / "state"))) as server:
        assert await names(server) == ["a"]
        assert [d.code for d in server.fleet.diagnostics()] == ["XDS7003"]


async def test_what_was_served_last_is_kept_when_the_server_stops(tmp_path: Path) -> None:
    async with serving(OLD, last_good=LastGood(StateFile(tmp_path / "state"))) as server, server.channel() as channel:
        call = DeltaCall(channel)
        await call.ask(CDS)
        for number in range(20):
            await call.read()
            server.publish([cluster("a", str(number)), assignment("a")])
        await call.read()
    [kept] = LastGood(StateFile(tmp_path / "state")).load().values()
    assert [r.version for r in kept if r.type_url == CDS] == ["a-19"]


async def test_what_cannot_be_kept_is_said_once(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with (
            serving(OLD, last_good=LastGood(StateFile(tmp_path / "gone" / "state"))) as server,
            server.channel() as channel,
        ):
            call = DeltaCall(channel)
            await call.ask(CDS)
            for number in range(3):
                await call.read()
                server.publish([cluster(f"c{number}"), assignment(f"c{number}")])
            await call.read()
            await until(lambda: any("not kept" in entry["event"] for entry in logs))
            (tmp_path / "gone").mkdir()
            server.publish(OLD)
            await until(lambda: saved(tmp_path / "gone" / "state") == {"a"})
    said = [entry["event"] for entry in logs if "kept" in entry["event"]]
    assert said == ["what proxies get is not kept", "what proxies get is kept again"]


async def test_groups_that_are_forgotten_are_kept_no_longer(tmp_path: Path) -> None:
    await run_once(tmp_path / "state")
    async with serving(OLD, last_good=LastGood(StateFile(tmp_path / "state"))) as server:
        for number in range(18):
            async with server.channel() as channel:
                call = DeltaCall(channel, node=f"router~1.2.3.4~gw.ns-{number}~x")
                await call.ask(CDS)
                await call.read()
            await until(lambda: not server.fleet.proxies())
        server.publish([cluster("b"), assignment("b")])
        await until(lambda: saved(tmp_path / "state") == {"a", "b"})
    kept = {proxy.namespace for proxy in LastGood(StateFile(tmp_path / "state")).load()}
    assert kept == {"ns", *(f"ns-{number}" for number in range(2, 18))}


async def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"nonsense")
    async with serving(OLD, last_good=LastGood(StateFile(tmp_path / "state"))) as server:
        assert await names(server) == ["a"]
        await until(lambda: saved(tmp_path / "state") == {"a"})


async def test_after_a_restart_a_sotw_client_keeps_clusters_until_its_routes_are_new(tmp_path: Path) -> None:
    """It cannot be told of a removal later, so the old ones are offered once more from what was kept."""
    await run_once(tmp_path / "state")
    node = {"id": "router~1.2.3.4~gw.ns~x"}
    new = (cluster("b"), assignment("b"))
    async with serving(new, last_good=LastGood(StateFile(tmp_path / "state"))) as server, server.channel() as channel:
        call = channel.stream_stream(SOTW_ADS)()
        await call.write(DiscoveryRequest(type_url=CDS, version_info="old", node=node).SerializeToString())
        first = DiscoveryResponse.FromString(await call.read())
        assert [r.value for r in first.resources] == [b"a=1", b"b=1"]


async def test_what_a_sotw_client_is_sent_is_kept_before_so_that_a_kill_at_any_time_loses_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state"
    async with serving(OLD, last_good=LastGood(StateFile(path))) as server, server.channel() as channel:
        call = channel.stream_stream(SOTW_ADS)()
        await call.write(DiscoveryRequest(type_url=CDS, node={"id": "router~1.2.3.4~gw.ns~x"}).SerializeToString())
        got = DiscoveryResponse.FromString(await call.read())
        assert saved(path) == {"a"}
        for name in "bcdef":
            ack = DiscoveryRequest(type_url=CDS, version_info=got.version_info, response_nonce=got.nonce)
            await call.write(ack.SerializeToString())
            server.publish([cluster(name), assignment(name)])
            while not any(r.value == f"{name}=1".encode() for r in got.resources):
                got = DiscoveryResponse.FromString(await call.read())
            assert name in saved(path)


def test_what_was_kept_before_any_proxy_answered_does_not_count_as_good() -> None:
    """The server before was killed between the offer of a bad resource and its refusal."""
    kept = Group([cluster("bad")])
    kept.offer(kept.settle(keyed([cluster("bad"), cluster("a")]), Shared(), Shared().intern))
    assert kept.published
    refused = kept.published.tables.by_type[CDS].rows["bad"]
    kept.judge("edge", Verdict(Meaning.NACK, CDS, culprits=(refused,), message="no"))
    assert kept.published.refused == {refused}
    assert [r.name for r in offered(kept.published) if r.type_url == CDS] == ["a"]
