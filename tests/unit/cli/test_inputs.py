"""What the commands read: directories, files, and a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from xds_server.cli import exits
from xds_server.cli.main import cli
from xds_server.settings import Settings, SettingsError, load

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: shop}\nspec: {ports: [{port: %d}]}\n"
UNREACHABLE = """\
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
"""


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(SERVICE % ("web", 80))
    (tmp_path / "b.yaml").write_text(SERVICE % ("web", 81) + "---\n" + SERVICE % ("shop", 80))
    (tmp_path / "kubeconfig").write_text(UNREACHABLE)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)

    return call


def test_several_sources_are_read_as_one_and_the_first_counts(invoke: Any) -> None:
    result = invoke("lint", "a.yaml", "--source", "b.yaml")
    assert result.exit_code == exits.FINDINGS
    assert "b.yaml:1:1: error XDS1008 Service/shop/web: the object is defined already in a.yaml:1" in result.stdout
    assert "in 2 files, 2 objects" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(["lint"], exits.USAGE, "name a DIR, or use --source kubernetes", id="nothing to read"),
        pytest.param(["serve"], exits.USAGE, "name a DIR, or use --source kubernetes", id="nothing to serve"),
        pytest.param(["lint", "a.yaml", "--source", "a.yaml"], exits.USAGE, "is given twice", id="a source twice"),
        pytest.param(["lint", "a.yaml", "--source", "c.yaml"], exits.CANNOT_RUN, "c.yaml", id="a file that is missing"),
        pytest.param(
            ["lint", "--source", "kubernetes", "--kubeconfig", "none"],
            exits.CANNOT_RUN,
            "no kubeconfig",
            id="no config",
        ),
        pytest.param(
            ["serve", "--source", "kubernetes", "--kubeconfig", "none", "--xds-port", "0", "--admin-port", "0"],
            exits.CANNOT_RUN,
            "no kubeconfig none",
            id="no config, serving",
        ),
        pytest.param(
            ["translate", "--source", "kubernetes", "--kubeconfig", "kubeconfig", "--context", "y"],
            exits.CANNOT_RUN,
            "cannot be used",
            id="no such context",
        ),
        pytest.param(
            ["lint", "--source", "kubernetes", "--selector", "Pot:a=b"],
            exits.USAGE,
            "no kind that is read",
            id="selector",
        ),
    ],
)
def test_what_cannot_be_read_is_said(invoke: Any, arguments: list[str], code: int, words: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, words in result.output) == (code, True), result.output


def test_a_cluster_that_does_not_answer_is_no_clean_result(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds_server.sources.follow.READ_SECONDS", 0.5)
    result = invoke("lint", "--source", "kubernetes", "--kubeconfig", "kubeconfig")
    assert result.exit_code == exits.CANNOT_RUN
    assert "not everything could be read in 0.5 s" in result.output


def test_sources_come_from_every_place_of_settings(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("source: [kubernetes]\nnamespace: [a, b]\nsecrets: referenced\n")
    from_file = load({}, {}, config)
    assert (from_file.source, from_file.namespace, from_file.secrets) == (("kubernetes",), ("a", "b"), "referenced")
    from_environment = load({}, {"XDS_SERVER_SOURCE": "conf;kubernetes", "XDS_SERVER_SELECTOR": "a in (b, c)"}, config)
    assert (from_environment.source, from_environment.selector) == (("conf", "kubernetes"), ("a in (b, c)",))
    assert load({"source": ("x",)}, {"XDS_SERVER_SOURCE": "y"}) == Settings(source=("x",))


def test_a_kind_of_secrets_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingsError, match="secrets in the environment"):
        load({}, {"XDS_SERVER_SECRETS": "some"})
