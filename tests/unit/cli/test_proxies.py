"""How a proxy is named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from xds_server.cli.exits import CannotRun
from xds_server.cli.proxies import parse_proxy
from xds_server.mesh.model import Locality
from xds_server.mesh.proxy import Interception, Proxy, ProxyKind

CASES = {
    "gateway": Proxy(),
    "gateway,namespace=edge,label.istio=ingressgateway": Proxy(namespace="edge", labels=(("istio", "ingressgateway"),)),
    "sidecar,namespace=shop,interception=NONE,http-proxy-port=15080": Proxy(
        kind=ProxyKind.SIDECAR, namespace="shop", interception=Interception.NONE, http_proxy_port=15080
    ),
    "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local": Proxy(kind=ProxyKind.SIDECAR, namespace="shop"),
    "grpc": Proxy(kind=ProxyKind.GRPC),
}


@pytest.mark.parametrize(("text", "proxy"), CASES.items(), ids=CASES.keys())
def test_a_proxy_is_read_from(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize("text", ["nothing", "gateway,namespace", "gateway,zone=a", "sidecar,interception=SOME"])
def test_what_is_not_understood_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        parse_proxy(text)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            "id: gw\nmetadata: {NAMESPACE: edge}\nlocality: {region: r, zone: z, sub_zone: s}", id="a node in a file"
        ),
        pytest.param(
            '{"node": {"metadata": {"NAMESPACE": "edge"}, "locality": {"region": "r", "zone": "z", "sub_zone": "s"}}}',
            id="a bootstrap in a file",
        ),
    ],
)
def test_a_proxy_is_read_from_a_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(content)
    assert parse_proxy(str(file)) == Proxy(namespace="edge", locality=Locality("r", "z", "s"))


def test_a_broken_file_is_no_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text("[")
    with pytest.raises(CannotRun):
        parse_proxy(str(file))


def test_a_file_without_a_node_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text("- 1")
    with pytest.raises(ValueError, match="must hold a node"):
        parse_proxy(str(file))
