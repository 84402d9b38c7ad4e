"""Reading responses, each content once."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, DiscoveryResponse, Resource
from google.protobuf.any_pb2 import Any as Packed

from xds_server.envoy.resource import CLUSTER
from xds_server.loadtest.responses import Reader, Unreadable
from xds_server.loadtest.variants import DELTA, SOTW, Variant

each_variant = pytest.mark.parametrize("variant", [DELTA, SOTW], ids=lambda variant: variant.name)


def packed(name: str) -> Packed:
    return Packed(type_url=CLUSTER, value=Cluster(name=name).SerializeToString())


def response(variant: Variant, nonce: str, names: tuple[str, ...] = ("a",), server: str = "s") -> bytes:
    more: Any = {"nonce": nonce, "type_url": CLUSTER, "control_plane": {"identifier": server}}
    if variant is SOTW:
        return DiscoveryResponse(version_info="1", resources=map(packed, names), **more).SerializeToString()
    resources = [Resource(name=name, version="v", resource=packed(name)) for name in names]
    return DeltaDiscoveryResponse(system_version_info="1", resources=resources, **more).SerializeToString()


@each_variant
@pytest.mark.parametrize("nonces", [("1", "2"), ("9", "10"), ("", "1"), ("x" * 200, "y"), ("a", "a")])
def test_only_the_nonce_differs(variant: Variant, nonces: tuple[str, str]) -> None:
    reader = Reader(variant)
    for nonce in (*nonces, *nonces):
        got, said = reader.read(response(variant, nonce))
        assert said == nonce
        assert list(got.items) == ["a"]
        assert (got.type_url, got.version) == (CLUSTER, "1")


@each_variant
def test_the_same_content_is_the_same_object(variant: Variant) -> None:
    reader = Reader(variant)
    first, _ = reader.read(response(variant, "1"))
    assert reader.read(response(variant, "2"))[0] is first
    assert reader.read(response(variant, "2", ("b",)))[0] is not first
    assert reader.read(response(variant, "3"))[0] is first


@each_variant
def test_a_text_that_looks_like_a_nonce_is_none(variant: Variant) -> None:
    reader = Reader(variant)
    for nonce in ("7", "8"):
        assert reader.read(response(variant, nonce, server="\x2a\x017"))[1] == nonce


@each_variant
def test_what_is_no_response_is_refused(variant: Variant) -> None:
    with pytest.raises(Unreadable):
        Reader(variant).read(b"\xff\xff\xff")
    with pytest.raises(Unreadable):
        Reader(variant).read(b"\x22\x02\xff\xff")


def test_resources_with_a_time_to_live_are_unwrapped() -> None:
    wrapped = Packed(
        type_url="type.googleapis.com/envoy.service.discovery.v3.Resource",
        value=Resource(name="a", resource=packed("a"), ttl={"seconds": 5}).SerializeToString(),
    )
    raw = DiscoveryResponse(type_url=CLUSTER, resources=[wrapped], nonce="1").SerializeToString()
    assert list(Reader(SOTW).read(raw)[0].items) == ["a"]


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds_server.loadtest.responses._REMEMBERED", 1000)
    reader = Reader(DELTA)
    for number in range(100):
        reader.read(response(DELTA, "1", (f"cluster-{number}",)))
    assert reader._size <= 1000
    assert reader._size == sum(
        len(seen.before) + len(seen.behind) for contents in reader._seen.values() for seen in contents
    )
