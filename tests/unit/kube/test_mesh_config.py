"""The settings of the mesh, as the ConfigMap of Istio has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xds_server.diagnostics import Diagnostic
from xds_server.kube.decode import decode
from xds_server.kube.identify import Unidentified, identify
from xds_server.kube.istio.mesh_config import DEFAULTS, ConfigMap, MeshConfig, mesh_config
from xds_server.kube.meta import Source
from xds_server.kube.units import Duration
from xds_server.sources.mesh_file import batch


def config_map(text: str, name: str = "istio", namespace: str = "istio-system") -> tuple[object, list[str]]:
    """The decoded object, and what is said about it."""
    metadata = {"name": name, "namespace": namespace}
    raw = identify({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": text}}, Source())
    assert not isinstance(raw, Unidentified)
    found = decode(raw)
    return found.object, [f"{each.code} {'.'.join(map(str, each.path))}: {each.message}" for each in found.diagnostics]


def read(text: str) -> tuple[MeshConfig, tuple[Diagnostic, ...]]:
    found, _ = config_map(text)
    assert isinstance(found, ConfigMap)
    return mesh_config(found)


def test_nothing_said_is_the_defaults() -> None:
    assert mesh_config(None) == (DEFAULTS, ())
    assert read("") == (DEFAULTS, ())
    assert (DEFAULTS.allows_any, DEFAULTS.root) == (True, "istio-system")


def test_every_setting_is_read() -> None:
    config, notes = read(
        """
        outboundTrafficPolicy: {mode: REGISTRY_ONLY}
        defaultHttpRetryPolicy: {attempts: 1, retryOn: connect-failure}
        connectTimeout: 3s
        tcpKeepalive: {probes: 3}
        localityLbSetting: {enabled: true}
        rootNamespace: mesh-root
        proxyHttpPort: 15080
        defaultServiceExportTo: ["."]
        defaultVirtualServiceExportTo: [a]
        defaultDestinationRuleExportTo: [b]
        """
    )
    assert notes == ()
    assert (config.allows_any, config.root, config.proxy_http_port) == (False, "mesh-root", 15080)
    assert config.connect_timeout == Duration(3 * 10**9)
    assert config.default_http_retry_policy is not None
    assert config.default_http_retry_policy.attempts == 1
    assert config.tcp_keepalive is not None
    assert config.tcp_keepalive.probes == 3
    assert config.locality_lb_setting is not None
    assert config.locality_lb_setting.enabled is True
    assert config.default_service_export_to == (".",)
    assert config.default_virtual_service_export_to == ("a",)
    assert config.default_destination_rule_export_to == ("b",)


def test_a_policy_without_a_mode_is_the_strict_one() -> None:
    assert read("outboundTrafficPolicy: {}")[0].allows_any is False


def test_what_has_no_effect_is_named_once() -> None:
    _, notes = read("accessLogFile: /dev/stdout\ntrustDomain: example\nconnectTimeout: 1s\n")
    assert [(note.code, note.message.split()[0]) for note in notes] == [
        ("XDS1014", "accessLogFile"),
        ("XDS1014", "trustDomain"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: [", "this is not YAML", id="broken YAML"),
        pytest.param("- a", "are a mapping", id="a list"),
        pytest.param("connectTimeout: 10", "connectTimeout: a duration is text", id="a duration as a number"),
        pytest.param("outboundTrafficPolicy: {mode: OPEN}", "outboundTrafficPolicy.mode: Invalid enum", id="a mode"),
        pytest.param("outboundTrafficPolicy: {mood: x}", "unknown field `mood`", id="a slip below the first level"),
        pytest.param("proxyHttpPort: 70000", "not a port number", id="a port"),
    ],
)
def test_a_mistake_leaves_the_last_good_form_in_force(text: str, words: str) -> None:
    found, said = config_map(text)
    assert found is None
    [only] = said
    assert only.startswith("XDS1005 data.mesh: ")
    assert words in only


@pytest.mark.parametrize(("name", "namespace"), [("istio", "default"), ("other", "istio-system")])
def test_other_config_maps_are_not_read(name: str, namespace: str) -> None:
    found, said = config_map("", name, namespace)
    assert found is None
    assert [each.split()[0] for each in said] == ["XDS1006"]


def test_a_file_is_the_same_as_the_config_map(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("connectTimeout: 3s")
    [raw] = batch(str(file)).raws
    assert json.loads(raw.body)["data"] == {"mesh": "connectTimeout: 3s"}
    assert (raw.source.file, str(raw.ref)) == (str(file), "ConfigMap/istio-system/istio")


def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    gone = str(tmp_path / "mesh.yaml")
    found = batch(gone)
    assert (found.raws, found.broken, [each.code for each in found.diagnostics]) == ((), {gone}, ["XDS1002"])
