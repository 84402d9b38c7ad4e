"""What of deploy/ and docker-compose.yml can be checked without a Docker engine; tests/compose does the rest."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.envoy_config import static_bootstrap, validate
from xds_server.cli.main import cli
from xds_server.cli.proxies import parse_proxy
from xds_server.kube.snapshot import Snapshot
from xds_server.sources.directory import read
from xds_server.store import snapshot_of
from xds_server.translate import translate

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "deploy" / "compose"
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
BOOTSTRAPS = sorted((COMPOSE / "envoy").iterdir())
RECENT = {
    "a frontend line": r"^# *syntax *=",
    "a digest": r"@sha256:",
    "COPY --link": r"^COPY .*--link",
    "a mount": r"^RUN .*--mount",
    "a heredoc": r"<<",
}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """What the server of docker-compose.yml reads: the config, and the Secret that `certs` makes."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(COMPOSE / "config", folder / "config")
    [secret] = [part for part in SERVICES["certs"]["command"] if part.startswith("--secret")]
    made = CliRunner().invoke(cli, ["certs", str(folder), secret], catch_exceptions=False)
    assert made.exit_code == 0
    return snapshot_of(read(str(folder)))


@pytest.mark.parametrize("bootstrap", BOOTSTRAPS, ids=lambda path: path.stem)
def test_each_envoy_of_compose_gets_what_it_accepts_and_nobody_complains(snapshot: Snapshot, bootstrap: Path) -> None:
    result = translate(snapshot, parse_proxy(str(bootstrap)))
    assert (*snapshot.diagnostics, *result.diagnostics) == ()
    validate(static_bootstrap(result.resources))


@pytest.mark.parametrize("pattern", RECENT.values(), ids=RECENT.keys())
def test_the_dockerfile_has_nothing_that_only_a_recent_builder_knows(pattern: str) -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(pattern, text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_compose_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_what_the_server_keeps_is_in_a_volume_that_the_image_made_for_its_user() -> None:
    assert "--state-dir=/var/lib/xds-server" in SERVICES["xds-server"]["command"]
    assert "state:/var/lib/xds-server" in SERVICES["xds-server"]["volumes"]
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    user = re.findall(r"^USER (\d+):(\d+)$", dockerfile, flags=re.MULTILINE)
    assert (
        re.findall(r"^RUN install -d -m 700 -o (\d+) -g (\d+) /var/lib/xds-server$", dockerfile, re.MULTILINE) == user
    )


def test_each_key_is_mounted_by_its_owner_only() -> None:
    owners: dict[str, list[str]] = {}
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if name != "certs" and not source.startswith((".", "$")):
                owners.setdefault(source, []).append(name)
    assert owners == {
        "secrets": ["xds-server"],
        "server": ["xds-server"],
        "state": ["xds-server"],
        "ingress": ["ingress"],
        "egress": ["egress"],
        "frontend": ["frontend-sidecar"],
        "orders": ["orders-sidecar"],
        "prometheus": ["prometheus"],
    }
