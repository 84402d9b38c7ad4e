"""Who the synthetic Envoys say they are."""

from __future__ import annotations

from typing import Any

import pytest

from xds_server.cli.proxies import parse_node
from xds_server.loadtest.nodes import node, numbered
from xds_server.mesh.model import Locality
from xds_server.mesh.proxy import Interception, Proxy, ProxyKind
from xds_server.xds.node import proxy, user_agent

SPECS = {
    "sidecar": ("sidecar~198.18.0.8~loadtest-7.default~default.svc.cluster.local", Proxy(kind=ProxyKind.SIDECAR)),
    "gateway,namespace=edge,label.istio=ingressgateway,cluster=west": (
        "router~198.18.0.8~loadtest-7.edge~edge.svc.cluster.local",
        Proxy(namespace="edge", labels=(("istio", "ingressgateway"),), cluster_id="west"),
    ),
    "sidecar,namespace=shop,interception=NONE,http-proxy-port=15080": (
        "sidecar~198.18.0.8~loadtest-7.shop~shop.svc.cluster.local",
        Proxy(kind=ProxyKind.SIDECAR, namespace="shop", interception=Interception.NONE, http_proxy_port=15080),
    ),
    "router~10.0.0.1~gw.edge~edge.svc.cluster.local": (
        "router~10.0.0.1~gw-7.edge~edge.svc.cluster.local",
        Proxy(namespace="edge"),
    ),
}


@pytest.mark.parametrize(("spec", "expected"), SPECS.items(), ids=SPECS.keys())
def test_the_server_takes_it_for_the_proxy_that_was_asked_for(spec: str, expected: tuple[str, Proxy]) -> None:
    made = numbered(node(parse_node(spec)), 7)
    assert (made.id, proxy(made)) == expected


def test_a_node_of_a_file_keeps_what_it_says() -> None:
    given = {
        "id": "edge",
        "cluster": "c",
        "metadata": {"NAMESPACE": "edge", "LABELS": {"a": "b"}},
        "locality": {"region": "r", "zone": "z"},
        "user_agent_name": "envoy",
    }
    made = numbered(node(given), 3)
    assert (made.id, made.cluster, made.user_agent_name) == ("edge-3", "c", "envoy")
    assert proxy(made) == Proxy(namespace="edge", labels=(("a", "b"),), locality=Locality("r", "z"))


def test_the_client_says_that_it_is_a_load_test() -> None:
    assert user_agent(node({})).startswith("xds-server-loadtest ")


def test_every_stream_has_an_id_and_an_address_of_its_own() -> None:
    like = node({})
    ids = {numbered(like, number).id for number in range(70_000)}
    assert len(ids) == 70_000
    assert len({made.split("~")[1] for made in ids}) == 70_000


@pytest.mark.parametrize(
    "given", [{"metadata": {"ROLE": "grpc"}}, {"metadata": {"GENERATOR": "grpc"}}, {"id": 7}, {"metadata": [1]}]
)
def test_what_is_no_node_of_an_envoy_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"Envoy|understood"):
        node(given)
