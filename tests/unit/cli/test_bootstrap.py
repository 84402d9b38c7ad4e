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
        ["--role", "sidecar", "--interception", "TPROXY", "--dns-capture"],
        Proxy(kind=ProxyKind.SIDECAR, interception=Interception.TPROXY, dns_capture=True),
        id="a sidecar that intercepts",
    ),
    pytest.param(["--node-name", "node-a"], Proxy(node="node-a"), id="where it runs"),
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


TLS = ("--tls-ca", "/certs/ca.pem", "--tls-cert", "/certs/cert.pem", "--tls-key", "/certs/key.pem")


@pytest.mark.parametrize(
    ("arguments", "sni", "name"),
    [
        pytest.param(
            ["--xds-host", "xds.example"],
            "xds.example",
            {"san_type": "DNS", "matcher": {"exact": "xds.example"}},
            id="the host by default",
        ),
        pytest.param(
            ["--xds-host", "10.0.0.1"],
            None,
            {"san_type": "IP_ADDRESS", "matcher": {"exact": "10.0.0.1"}},
            id="an address, which has no SNI",
        ),
        pytest.param(
            ["--xds-host", "10.0.0.1", "--tls-server-name", "xds.example"],
            "xds.example",
            {"san_type": "DNS", "matcher": {"exact": "xds.example"}},
            id="another name",
        ),
    ],
)
def test_with_tls_the_server_must_have_the_name(arguments: list[str], sni: str | None, name: dict[str, Any]) -> None:
    [cluster] = printed(*TLS, *arguments)["static_resources"]["clusters"]
    settings = cluster["transport_socket"]["typed_config"]
    assert settings.get("sni") == sni
    context = settings["common_tls_context"]
    assert context["validation_context"]["match_typed_subject_alt_names"] == [name]
    assert context["validation_context"]["trusted_ca"] == {"filename": "/certs/ca.pem"}
    assert context["alpn_protocols"] == ["h2"]
    assert context["tls_certificates"] == [
        {"certificate_chain": {"filename": "/certs/cert.pem"}, "private_key": {"filename": "/certs/key.pem"}}
    ]


@pytest.mark.parametrize(
    ("arguments", "credentials"),
    [
        pytest.param([], {"type": "insecure"}, id="plain text"),
        pytest.param(
            TLS,
            {
                "type": "tls",
                "config": {
                    "ca_certificate_file": "/certs/ca.pem",
                    "certificate_file": "/certs/cert.pem",
                    "private_key_file": "/certs/key.pem",
                },
            },
            id="TLS",
        ),
    ],
)
def test_a_grpc_client_gets_a_file_of_its_own_kind(arguments: list[str], credentials: dict[str, Any]) -> None:
    value = printed("--role", "grpc", "-n", "shop", "--xds-host", "::1", *arguments)
    [server] = value["xds_servers"]
    assert server["server_uri"] == "[::1]:15010"
    assert server["channel_creds"] == [credentials]
    assert proxy_of_node(value) == Proxy(kind=ProxyKind.GRPC, namespace="shop")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-l", "app"], id="a label without a value"),
        pytest.param(["--http-proxy-port", "80"], id="an HTTP proxy port for a gateway"),
        pytest.param(["--dns-capture"], id="DNS of a gateway"),
        pytest.param(["--tls-ca", "ca.pem"], id="an authority without a certificate"),
        pytest.param(["--tls-server-name", "xds.example"], id="a server name without TLS"),
        pytest.param(["--role", "grpc", *TLS, "--tls-server-name", "x.example"], id="a server name for a gRPC client"),
        pytest.param(["--role", "edge"], id="an unknown role"),
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["bootstrap", *arguments]).exit_code == 2
