"""The bootstrap says who the proxy is in a way that the server understands."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from xds_server.cli.main import cli
from xds_server.cli.proxies import proxy_of_node
from xds_server.mesh.proxy import Interception, Proxy, ProxyKind


def printed(*arguments: str) -> Any:
    result = CliRunner().invoke(cli, ["bootstrap", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return yaml.safe_load(result.stdout)


CASES = [
    pytest.param([], Proxy(), id="a gateway by default"),
    pytest.param(
        ["-n", "edge", "-l", "istio=ingressgateway", "-l", "app=gw"],
        Proxy(namespace="edge", labels=(("app", "gw"), ("istio", "ingressgateway"))),
        id="labels and namespace",
    ),
    pytest.param(
        ["--role", "sidecar", "--http-proxy-port", "15080", "--unprivileged", "--service-account", "web"],
        Proxy(
            kind=ProxyKind.SIDECAR,
            interception=Interception.NONE,
            http_proxy_port=15080,
            unprivileged=True,
            service_account="web",
        ),
        id="a sidecar with bound ports",
    ),
    pytest.param(
        ["--role", "sidecar", "--interception", "TPROXY"],
        Proxy(kind=ProxyKind.SIDECAR, interception=Interception.TPROXY),
        id="a sidecar that intercepts",
    ),
]


@pytest.mark.parametrize(("arguments", "proxy"), CASES)
def test_the_server_reads_from_the_node_what_the_flags_said(arguments: list[str], proxy: Proxy) -> None:
    assert proxy_of_node(printed(*arguments)) == proxy


def test_json_and_yaml_hold_the_same() -> None:
    runner = CliRunner()
    as_json = runner.invoke(cli, ["bootstrap", "-o", "json"]).stdout
    assert json.loads(as_json) == printed()


def test_the_admin_interface_is_on_loopback_or_a_socket() -> None:
    assert printed()["admin"]["address"] == {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}
    assert printed("--admin-uds", "/run/envoy.sock")["admin"]["address"] == {"pipe": {"path": "/run/envoy.sock"}}


def test_the_xds_server_is_reached_over_http2_with_keepalive() -> None:
    [cluster] = printed("--xds-host", "xds.example", "--xds-port", "7")["static_resources"]["clusters"]
    assert "xds.example" in str(cluster)
    assert "'port_value': 7" in str(cluster)
    [options] = cluster["typed_extension_protocol_options"].values()
    keepalive = options["explicit_http_config"]["http2_protocol_options"]["connection_keepalive"]
    assert keepalive == {"interval": "30s", "timeout": "10s"}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-l", "app"], id="a label without a value"),
        pytest.param(["--http-proxy-port", "80"], id="an HTTP proxy port for a gateway"),
        pytest.param(["--role", "edge"], id="an unknown role"),
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["bootstrap", *arguments]).exit_code == 2
