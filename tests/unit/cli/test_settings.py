"""Flag > environment > file > default."""

from __future__ import annotations

from pathlib import Path

import pytest

from xds_server.settings import Settings, SettingsError, is_loopback, load


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text("xds-port: 1\nadmin-port: 1\nlog-level: debug\n")
    return file


def test_the_default_counts_when_nothing_is_given() -> None:
    assert load({}, {}) == Settings()


def test_a_flag_wins_over_the_environment_that_over_the_file(config: Path) -> None:
    settings = load({"xds_port": 3}, {"XDS_SERVER_XDS_PORT": "2", "XDS_SERVER_ADMIN_PORT": "2", "HOME": "/"}, config)
    assert (settings.xds_port, settings.admin_port, settings.log_level) == (3, 2, "debug")
    assert settings.log_format == "auto"


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        pytest.param({}, {"XDS_SERVER_XDS_PORT": "http"}, "xds-port in the environment", id="not a number"),
        pytest.param({"xds_port": 70000}, {}, "xds-port in the command line", id="not a port"),
        pytest.param({}, {"XDS_SERVER_LOG_FORMAT": "xml"}, "log-format in the environment", id="no such choice"),
        pytest.param({"xds_host": "0.0.0.0"}, {}, "--insecure", id="plain text on all addresses"),
        pytest.param({"xds_host": "xds.example.com"}, {}, "--insecure", id="plain text on a name"),
        pytest.param({"tls_cert": "c"}, {}, "belong together", id="a certificate without a key"),
        pytest.param({"state_key": "k"}, {}, "needs state-dir", id="a key for nothing"),
        pytest.param({"tls_client_ca": "a"}, {}, "needs tls-cert", id="client certificates without TLS"),
        pytest.param(
            {"xds_host": "0.0.0.0", "tls_cert": "c", "tls_key": "k"}, {}, "--insecure", id="strangers on all addresses"
        ),
        pytest.param({"trust_domain": ""}, {}, "trust-domain in the command line", id="an empty trust domain"),
        pytest.param({"admin_host": "10.0.0.1", "insecure": True}, {}, "no login", id="the admin endpoints reachable"),
    ],
)
def test_a_mistake_is_named_with_its_place(flags: dict[str, object], environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(flags, environ)


def test_the_settings_of_the_mesh_come_before_all_sources() -> None:
    assert load({"source": ("a", "b"), "mesh_config": "mesh.yaml"}, {}).sources == ("mesh.yaml", "a", "b")
    assert load({"source": ("a",)}, {}).sources == ("a",)
    with pytest.raises(SettingsError, match="cannot be both"):
        load({"source": ("a",), "mesh_config": "a"}, {})


def test_insecure_allows_any_address() -> None:
    assert load({"xds_host": "0.0.0.0"}, {"XDS_SERVER_INSECURE": "true"}).xds_host == "0.0.0.0"


def test_client_certificates_allow_any_address() -> None:
    files = {"tls_cert": "cert.pem", "tls_key": "key.pem", "tls_client_ca": "ca.pem"}
    assert load({"xds_host": "0.0.0.0", **files}, {}).tls_client_ca == "ca.pem"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("xds-prot: 1\n", "unknown setting 'xds-prot'", id="an unknown setting"),
        pytest.param("- 1\n", "must be a mapping", id="a list"),
        pytest.param("a: [\n", "cannot be read", id="a syntax error"),
        pytest.param("xds-port: http\n", "xds-port in .*config.yaml", id="a wrong type"),
        pytest.param("", "must be a mapping", id="an empty file"),
    ],
)
def test_a_config_file_is_read_strictly(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=message):
        load({}, {}, file)


def test_a_missing_config_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load({}, {}, tmp_path / "none.yaml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_only_this_machine_reaches(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example"])
def test_others_may_reach(host: str) -> None:
    assert not is_loopback(host)
