"""The real Envoy takes every bootstrap that the command writes, without a complaint."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from xds_server.cli.main import cli
from xds_server.demo.processes import find_envoy

CASES = [
    pytest.param([], id="a gateway"),
    pytest.param(["-l", "istio=ingressgateway", "-n", "production"], id="a gateway with labels"),
    pytest.param(["--role", "sidecar", "--http-proxy-port", "15080", "--unprivileged"], id="a sidecar"),
    pytest.param(["--admin-uds", "admin.sock"], id="the admin interface on a unix socket"),
    pytest.param(["--xds-host", "xds.example.com"], id="a server by its name"),
    pytest.param(["-o", "json"], id="as JSON, which is YAML too"),
]


@pytest.mark.parametrize("arguments", CASES)
def test_envoy_accepts(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(CliRunner().invoke(cli, ["bootstrap", *arguments], catch_exceptions=False).stdout)
    command = [find_envoy(), "--mode", "validate", "-c", file, "--log-level", "warning"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
