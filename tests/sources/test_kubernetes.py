"""The Kubernetes source against a real API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tests.cluster import ApiServer, Cluster, cluster_for_test, own_api_server
from tests.e2e.harness import eventually
from xds_server.diagnostics import ObjectRef
from xds_server.kube.core import Service
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.kube.kinds import KINDS
from xds_server.sources import kubernetes_resources, listwatch
from xds_server.sources.condition import Condition
from xds_server.sources.kubernetes import Incomplete, News, read, watch
from xds_server.sources.kubernetes_api import Access, NoAccess
from xds_server.sources.kubernetes_resources import Scope
from xds_server.store import Batch, Changes, Store


def service(name: str, port: int = 80, labels: str = "{}") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, labels: {labels}}}
spec: {{ports: [{{port: {port}}}]}}
"""


def virtual_service(name: str, timeout: str = "1s") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec: {{hosts: [{name}], http: [{{timeout: {timeout}, route: [{{destination: {{host: {name}}}}}]}}]}}
"""


def secret(name: str) -> str:
    return f"""
apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
data: {{cert: YQ==}}
"""


def gateway(name: str, credential: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  servers:
  - port: {{number: 443, name: https, protocol: HTTPS}}
    hosts: ["*"]
    tls: {{mode: SIMPLE, credentialName: {credential}}}
"""


class Follower:
    """A store that follows a cluster, and everything that was told."""

    def __init__(self) -> None:
        self.store = Store(["k"])
        self.digests: dict[ObjectRef, bytes] = {}
        self.conditions = [Condition()]
        self.told: list[News] = []
        self.anchors: set[ObjectRef] = set()

    async def tell(self, news: News) -> None:
        self.told.append(news)
        if isinstance(news, Condition):
            self.conditions.append(news)
            return
        if isinstance(news, Batch):
            assert not self.digests, "a batch is told once"
            self.store.apply("k", news)
        else:
            assert not self.anchors & set(news.gone), "an object that is in the cluster was lost"
            self.store.update("k", news)
            for ref in news.gone:  # one that came and went at once may never have been told
                self.digests.pop(ref, None)
        raws = news.raws if isinstance(news, Batch) else news.puts
        self.digests.update((raw.ref, raw.digest) for raw in raws)

    def names(self, kind: type[Service] | type[VirtualService] = Service) -> set[str]:
        return {name for _, name in self.store.snapshot.of(kind)}

    def changes(self) -> list[Changes]:
        return [news for news in self.told if isinstance(news, Changes)]


@contextlib.asynccontextmanager
async def following(cluster: Cluster, scope: Scope | None = None) -> AsyncIterator[Follower]:
    follower = Follower()
    watching = asyncio.ensure_future(
        watch(cluster.access, scope or Scope(namespaces=(cluster.namespace,)), follower.tell)
    )
    try:
        await eventually(lambda: watching.done() or follower.digests or follower.store.snapshot.number)
        yield follower
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with cluster_for_test() as found:
        yield found


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with own_api_server(tmp_path) as running:
        yield running


@pytest.fixture
def lists(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How lists are read."""
    if request.param == "by pages":
        monkeypatch.setattr(listwatch, "STREAMS_TRIED", 0)
        monkeypatch.setattr(kubernetes_resources, "PAGE", 2)
    return str(request.param)


LISTS = pytest.mark.parametrize("lists", ["streamed", "by pages"], indirect=True)


@LISTS
async def test_objects_come_change_and_go(cluster: Cluster, lists: str) -> None:
    await cluster.apply(*(service(name) for name in "abcde"), virtual_service("v"))
    async with following(cluster) as follower:
        assert follower.names() == set("abcde")
        assert follower.names(VirtualService) == {"v"}
        await cluster.apply(service("a", 81), service("f"))
        await eventually(lambda: "f" in follower.names())
        key = (cluster.namespace, "a")
        await eventually(lambda: follower.store.snapshot.of(Service)[key].spec.ports[0].port == 81)
        await cluster.delete("service/b", "virtualservice/v")
        await eventually(lambda: follower.names() == set("acdef") and not follower.names(VirtualService))
        [source] = [found for ref, found in follower.store.snapshot.sources.items() if ref.name == "a"]
        assert source.cluster
        assert int(source.resource_version) > 0


async def test_what_nobody_reads_is_neither_kept_nor_told(cluster: Cluster) -> None:
    await cluster.apply(service("a"))
    async with following(cluster) as follower:
        await cluster.kubectl(
            *("patch", "service", "a", "-n", cluster.namespace, "--subresource=status", "--type=merge", "-p"),
            '{"status": {"conditions": []}, "metadata": {"finalizers": ["example.com/a"]}}',
        )
        await cluster.kubectl(
            *("patch", "service", "a", "-n", cluster.namespace, "--type=merge"),
            *("-p", '{"metadata": {"finalizers": null, "generateName": "x"}}'),
        )
        await cluster.apply(service("b"))
        await eventually(lambda: "b" in follower.names())
        assert [raw.ref.name for change in follower.changes() for raw in change.puts] == ["b"]
        assert all(b"managedFields" not in raw.body for change in follower.changes() for raw in change.puts)
        assert all(b"last-applied" not in raw.body for change in follower.changes() for raw in change.puts)


async def test_only_what_the_selectors_choose_is_read(cluster: Cluster) -> None:
    await cluster.apply(service("a", labels="{team: shop}"), service("b"), virtual_service("v"))
    scope = Scope((cluster.namespace,), {"Service": "team=shop"})
    async with following(cluster, scope) as follower:
        assert (follower.names(), follower.names(VirtualService)) == ({"a"}, {"v"})
        await cluster.apply(service("b", labels="{team: shop}"), service("a"))
        await eventually(lambda: follower.names() == {"b"})


async def test_of_all_secrets_only_those_that_are_named_are_read(cluster: Cluster) -> None:
    def secrets() -> set[str]:
        return {ref.name for ref in follower.digests if ref.kind == "Secret"}

    await cluster.apply(secret("one"), secret("two"), secret("other"), gateway("g", "one"))
    async with following(cluster, Scope((cluster.namespace,), secrets="referenced")) as follower:
        assert secrets() == {"one"}
        await cluster.apply(gateway("g", "two"))
        await eventually(lambda: secrets() == {"two"})
        seen = [{raw.ref.name for raw in change.puts} for change in follower.changes()]
        assert {"g", "two"} in seen, "the gateway is not told before its secret is known"
        await cluster.apply(gateway("g", "missing"))
        await eventually(lambda: secrets() == set())
        await cluster.apply(secret("missing"))
        await eventually(lambda: secrets() == {"missing"})


async def test_without_secrets_none_is_read(cluster: Cluster) -> None:
    await cluster.apply(secret("one"), service("a"))
    batch = await read(cluster.access, Scope((cluster.namespace,), secrets="none"), 20)
    assert {raw.ref.kind for raw in batch.raws if raw.ref.namespace} == {"Service"}


async def test_a_cluster_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
        "users: [{name: u, user: {token: t}}]\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
    )
    with pytest.raises(Incomplete, match="Cannot connect to host 127"):
        await read(Access(str(config)), Scope(), 3.0)


@pytest.mark.parametrize(
    ("text", "context", "words"),
    [
        pytest.param(None, "", "there is no kubeconfig", id="no file"),
        pytest.param("apiVersion: v1\nkind: Config\n", "", "current-context", id="no context"),
        pytest.param("{", "", "kubeconfig", id="no YAML"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_refused(
    tmp_path: Path, text: str | None, context: str, words: str
) -> None:
    config = tmp_path / "kubeconfig"
    if text is not None:
        config.write_text(text)
    with pytest.raises(NoAccess, match=words):
        await read(Access(str(config), context), Scope(), 1.0)


async def test_custom_resources_are_noticed_when_they_come_and_go(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listwatch, "ABSENT_WAIT", 0.2)
    cluster = server.cluster
    await cluster.apply(service("a"))
    async with following(cluster) as follower:
        assert (follower.names(), follower.names(VirtualService)) == ({"a"}, set())
        assert follower.conditions[-1] == Condition()
        await cluster.install()
        await cluster.apply(virtual_service("v"))
        await eventually(lambda: follower.names(VirtualService) == {"v"})
        await cluster.kubectl("delete", "crd", "virtualservices.networking.istio.io")
        await eventually(lambda: follower.names(VirtualService) == set())
        await cluster.install()
        await cluster.apply(virtual_service("w"))
        await eventually(lambda: follower.names(VirtualService) == {"w"})
        assert follower.names() == {"a"}


async def test_an_api_server_that_hangs_is_noticed_and_what_it_said_stays(server: ApiServer) -> None:
    cluster = server.cluster
    await cluster.apply(service("a"))
    async with following(cluster) as follower:
        server.pause()
        await eventually(lambda: follower.conditions[-1].lost)
        assert follower.names() == {"a"}
        server.go_on()
        await eventually(lambda: follower.conditions[-1] == Condition())
        await cluster.apply(service("b"))
        await eventually(lambda: follower.names() == {"a", "b"})


@LISTS
async def test_whatever_happens_to_the_api_server_it_ends_with_the_state_of_the_cluster(
    server: ApiServer, lists: str, tmp_path: Path
) -> None:
    """Changes, kills, restarts, which expire all versions, and connections that are cut after some bytes, in any
    order. What is in the cluster all the time is never lost for a moment."""
    random = Random(lists)
    cluster = server.cluster
    await cluster.install()
    await cluster.apply(*(service(f"anchor-{number}") for number in range(5)), virtual_service("anchor"))
    async with unreliable(server.port) as road, following(road.cluster(cluster, tmp_path)) as follower:
        follower.anchors = set(follower.digests)
        for _ in range(30):
            await one_of(random, server, road)
        road.break_after = None
        await eventually(lambda: same_as_cluster(cluster, follower), seconds=60)
        assert follower.conditions[-1] == Condition()


async def same_as_cluster(cluster: Cluster, follower: Follower) -> bool:
    batch = await read(cluster.access, Scope(namespaces=(cluster.namespace,)), 20)
    assert follower.digests == {raw.ref: raw.digest for raw in batch.raws}
    assert follower.conditions[-1] == Condition()
    return True


async def one_of(random: Random, server: ApiServer, road: Road) -> None:
    cluster = server.cluster
    match random.choice(["put", "put", "delete", "kill", "cut", "break", "mend"]):
        case "put":
            names = random.sample("abcdefgh", 3)
            kind = random.choice([service, virtual_service])
            await cluster.apply(*(kind(name) for name in names[:2]), service(names[2], random.randrange(1, 999)))
        case "delete":
            await cluster.delete(*(f"{random.choice(['service', 'virtualservice'])}/{name}" for name in "bdf"))
        case "kill":
            await server.kill()
            await server.start()
        case "cut":
            road.cut()
        case "break":
            road.break_after = random.randrange(100, 6000)
            road.cut()
        case "mend":
            road.break_after = None


class Road:
    """The way to the API server. break_after: connections are cut after so many bytes of answers."""

    def __init__(self, target: int) -> None:
        self.break_after: int | None = None
        self.port = 0
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()

    def cluster(self, real: Cluster, directory: Path) -> Cluster:
        """The same cluster at the end of this road."""
        found = Cluster(directory / "road.kubeconfig")
        found.namespace = real.namespace
        text = real.kubeconfig.read_text().replace(f":{self._target}", f":{self.port}")
        found.kubeconfig.write_text(text)
        return found

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        limit = self.break_after
        try:
            await asyncio.gather(_pump(reader, back, None), _pump(there, writer, limit))
        finally:
            self._writers -= {writer, back}
            for one in (writer, back):
                one.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
    """Carries bytes until either side ends, or `limit` are carried."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(512):
            writer.write(chunk)
            await writer.drain()
            if limit is not None and (limit := limit - len(chunk)) <= 0:
                break
    writer.transport.abort()


@contextlib.asynccontextmanager
async def unreliable(target: int) -> AsyncIterator[Road]:
    road = Road(target)
    listening = await asyncio.start_server(road.carry, "127.0.0.1", 0)
    road.port = listening.sockets[0].getsockname()[1]
    try:
        yield road
    finally:
        listening.close()
        road.cut()


def test_every_kind_is_asked_for() -> None:
    found = kubernetes_resources.resources(Scope())
    assert {(resource.group, resource.kind) for resource in found} == set(KINDS)
