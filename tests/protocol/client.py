"""Small clients for the session: they speak protobuf, and know no network and no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from envoy.config.core.v3.base_pb2 import Node
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from google.rpc.status_pb2 import Status

from xds_server.envoy.resource import CLUSTER, EMPTY, ENDPOINT, LISTENER, ROUTE, SECRET, Resource, Resources, keyed
from xds_server.xds.delta import DELTA
from xds_server.xds.group import Group
from xds_server.xds.intern import settled
from xds_server.xds.session import Session, Verdict
from xds_server.xds.shared import Shared
from xds_server.xds.sotw import SOTW
from xds_server.xds.substitute import Published
from xds_server.xds.table import EMPTY_TABLES, Tables
from xds_server.xds.variant import Variant

NOT_FOUND = 5  # google.rpc.Code
CDS, EDS, LDS, RDS, SDS = CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET


def resource(type_url: str, name: str, content: str = "1", references: Iterable[tuple[str, str]] = ()) -> Resource:
    """A resource whose bytes the session never looks into."""
    return Resource(type_url, name, f"{name}-{content[:20]}", (f"{name}={content}".encode(),), (), tuple(references))


def cluster(name: str, content: str = "1") -> Resource:
    return resource(CDS, name, content, [(EDS, name)])


def assignment(name: str, content: str = "1") -> Resource:
    return resource(EDS, name, content)


def route(name: str, *clusters: str) -> Resource:
    return resource(RDS, name, "+".join(clusters), [(CDS, c) for c in clusters])


def listener(name: str, content: str = "1", routes: Sequence[str] = ()) -> Resource:
    return resource(LDS, name, content, [(RDS, r) for r in routes])


def secret(name: str, content: str = "1") -> Resource:
    return resource(SDS, name, content)


@dataclass
class Got:
    """One response, as the client sees it. contents: name -> the content that `resource` was given.
    missing: names that are said not to exist."""

    type_url: str
    nonce: str
    version: str
    contents: Mapping[str, str]
    removed: list[str]
    identifier: str
    missing: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return list(self.contents)


class Client:
    """Talks to one `Session`. Responses that were not looked at yet wait in `inbox`."""

    def __init__(self, variant: Variant, world: World, only: str = "") -> None:
        self.world = world
        self.now = 0.0
        self.session = Session(variant, world.shared, "server-1", world.published, only)
        self.variant = variant
        self.inbox: list[Got] = []
        self.node_sent = False
        world.clients.append(self)

    def raw(self, data: bytes) -> Verdict:
        verdict = self.session.receive(data, self.now)
        self.pull()
        return verdict

    def pull(self) -> None:
        """Takes all that the session has to say now."""
        for _ in range(10_000):
            response = self.session.next(self.now)
            if response is None:
                return
            self.inbox.append(self._read(response.data))
        raise AssertionError("the session never stops talking")

    def take(self, type_url: str = "") -> list[Got]:
        """The responses of a type, or of all, since the last call."""
        found = [got for got in self.inbox if not type_url or got.type_url == type_url]
        self.inbox = [got for got in self.inbox if got not in found]
        return found

    def one(self, type_url: str) -> Got:
        found = self.take(type_url)
        assert len(found) == 1, found
        return found[0]

    def quiet(self) -> bool:
        return not self.inbox

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.pull()

    def _node(self) -> Node | None:
        first, self.node_sent = not self.node_sent, True
        return Node(id="router~1.2.3.4~gw.default~x") if first else None

    def _read(self, data: bytes) -> Got:
        if self.variant is SOTW:
            sotw = DiscoveryResponse.FromString(data)
            bodies = [_parts(any_.value) for any_ in sotw.resources]
            assert {any_.type_url for any_ in sotw.resources} <= {sotw.type_url}
            assert {error.error_detail.code for error in sotw.resource_errors} <= {NOT_FOUND}
            return Got(
                sotw.type_url,
                sotw.nonce,
                sotw.version_info,
                dict(bodies),
                [],
                sotw.control_plane.identifier,
                [error.resource_name.name for error in sotw.resource_errors],
            )
        delta = DeltaDiscoveryResponse.FromString(data)
        contents = {r.name: _parts(r.resource.value)[1] for r in delta.resources}
        assert {r.resource.type_url for r in delta.resources} <= {delta.type_url}
        assert len(contents) == len(delta.resources)
        return Got(
            delta.type_url,
            delta.nonce,
            delta.system_version_info,
            contents,
            list(delta.removed_resources),
            delta.control_plane.identifier,
        )


def _parts(body: bytes) -> tuple[str, str]:
    """Name and content of what `resource` made, or of an empty assignment that the server added."""
    if b"=" not in body:
        return ClusterLoadAssignment.FromString(body).cluster_name, ""
    name, _, content = body.decode().partition("=")
    return name, content


class World:
    """What is published to the clients made with it."""

    def __init__(self, *resources: Resource) -> None:
        self.shared = Shared()
        self.clients: list[Client] = []
        self.resources = keyed(resources)
        self.published = Published(EMPTY_TABLES)
        self.published = Published(self._settled(EMPTY))

    def publish(self, *resources: Resource, before: Tables | None = None) -> None:
        """New configuration reaches every client. A type that did not change keeps its mapping."""
        new = keyed(resources).by_type
        last, old = self.resources, self.resources.by_type
        self.resources = Resources({t: old[t] if _same(old[t], new[t]) else new[t] for t in new})
        self.published = Published(self._settled(last), before=before)
        for client in self.clients:
            client.session.publish(self.published)
            client.pull()

    def _settled(self, last: Resources) -> Tables:
        return settled(self.resources, last, self.published.tables, self.shared, self.shared.intern)

    def sotw(self, only: str = "") -> SotwClient:
        return SotwClient(SOTW, self, only)

    def delta(self, only: str = "") -> DeltaClient:
        return DeltaClient(DELTA, self, only)


class GroupWorld(World):
    """A world whose clients are one proxy group."""

    def __init__(self, *resources: Resource) -> None:
        super().__init__(*resources)
        self.group = Group()
        self.offer(*resources)

    def offer(self, *resources: Resource) -> None:
        self.resources = keyed(resources)
        self.group.offer(self.group.settle(self.resources, self.shared, self.shared.intern))
        self.settle()

    def settle(self) -> None:
        assert self.group.published
        self.published = self.group.published
        for client in self.clients:
            client.session.publish(self.published)
            client.pull()


def _same(old: Mapping[str, Resource], new: Mapping[str, Resource]) -> bool:
    return [(r.name, r.version) for r in old.values()] == [(r.name, r.version) for r in new.values()]


class SotwClient(Client):
    def ask(
        self, type_url: str, names: Iterable[str] = (), version: str = "", nonce: str = "", error: str | None = None
    ) -> Verdict:
        """`R(type, names, version, nonce)`."""
        return self.raw(
            DiscoveryRequest(
                type_url=type_url,
                resource_names=list(names),
                version_info=version,
                response_nonce=nonce,
                error_detail=None if error is None else Status(code=13, message=error),
                node=self._node(),
            ).SerializeToString()
        )

    def ack(self, got: Got, names: Iterable[str] = ()) -> Verdict:
        return self.ask(got.type_url, names, got.version, got.nonce)

    def nack(self, got: Got, names: Iterable[str] = (), version: str = "", error: str = "no") -> Verdict:
        return self.ask(got.type_url, names, version, got.nonce, error)

    def get(self, type_url: str, names: Iterable[str] = ()) -> Got:
        """Asks, takes the one response and acknowledges it."""
        self.ask(type_url, names)
        got = self.one(type_url)
        self.ack(got, names)
        return got


class DeltaClient(Client):
    def ask(
        self,
        type_url: str,
        add: Iterable[str] = (),
        drop: Iterable[str] = (),
        nonce: str = "",
        versions: Mapping[str, str] | None = None,
        error: str | None = None,
    ) -> Verdict:
        """`D(type, +add, -drop, nonce, versions)`."""
        return self.raw(
            DeltaDiscoveryRequest(
                type_url=type_url,
                resource_names_subscribe=list(add),
                resource_names_unsubscribe=list(drop),
                response_nonce=nonce,
                initial_resource_versions=versions or {},
                error_detail=None if error is None else Status(code=13, message=error),
                node=self._node(),
            ).SerializeToString()
        )

    def ack(self, got: Got, add: Iterable[str] = (), drop: Iterable[str] = ()) -> Verdict:
        return self.ask(got.type_url, add, drop, nonce=got.nonce)

    def nack(self, got: Got, error: str = "no") -> Verdict:
        return self.ask(got.type_url, nonce=got.nonce, error=error)

    def get(self, type_url: str, add: Iterable[str] = ()) -> Got:
        """Asks, takes the one response and acknowledges it."""
        self.ask(type_url, add)
        got = self.one(type_url)
        self.ack(got)
        return got
