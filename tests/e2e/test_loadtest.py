"""`xds-server loadtest` as a user runs it, against `xds-server serve`."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tests.e2e.harness import Lab, eventually
from xds_server.cli.main import cli

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  ports: [{name: http, port: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}]
"""
PROXY = "sidecar,namespace=shop,interception=NONE"


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "xds_server",
        "loadtest",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(*arguments: str) -> tuple[int, str, str]:
    process = await start(*arguments)
    out, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), said.decode()


async def measured(*arguments: str) -> Any:
    code, out, said = await run(*arguments, "-o", "json")
    assert code == 0, out + said
    return json.loads(out)


async def test_changes_of_a_file_reach_every_envoy(lab: Lab, tmp_path: Path) -> None:
    lab.write("web.yaml", SERVICE)
    await lab.serve()
    other = tmp_path / "other.yaml"
    other.write_text(SERVICE.replace("10.0.0.1", "10.0.0.2"), encoding="utf-8")
    swap = "--swap", str(lab.config / "web.yaml"), str(other)
    target = f"127.0.0.1:{lab.xds_port}"
    common = target, "-p", PROXY, "--streams", "20", "--stalled", "25%", "--rounds", "3", "--every", "0s", *swap
    for variant in ("delta", "sotw"):
        pid = str(lab.server.child.process.pid)
        made = await measured(*common, "--variant", variant, "--server-pid", pid)
        assert made["configured"] == 20
        assert made["rounds"]["not_reached"] == 0
        assert made["rounds"]["to_first_response"]["count"] == 45
        assert made["stalled"]["streams"] == 5
        assert made["watched"]["server"]
        assert (lab.config / "web.yaml").read_text(encoding="utf-8") == SERVICE


async def test_a_command_makes_the_changes(lab: Lab) -> None:
    lab.write("web.yaml", SERVICE)
    await lab.serve()
    file = lab.config / "web.yaml"
    command = f"sed -i s/10.0.0.[0-9]*/10.0.0.$((ROUND+1))/ {file}"
    target = f"127.0.0.1:{lab.xds_port}"
    code, out, said = await run(target, "-p", PROXY, "--streams", "5", "--trigger", command, "--rounds", "2")
    assert (code, said) == (0, "")
    assert "rounds      2, each reached every stream" in out
    assert "10.0.0.3" in file.read_text(encoding="utf-8")
    code, out, _ = await run(target, "-p", PROXY, "--streams", "5", "--trigger", "echo broken >&2; exit 3")
    assert code == 1
    assert "the trigger ended with exit code 3: broken" in out


async def test_ctrl_c_prints_what_was_measured(lab: Lab) -> None:
    lab.write("web.yaml", SERVICE)
    server = await lab.serve()
    target = f"127.0.0.1:{lab.xds_port}"
    process = await start(target, "-p", PROXY, "--streams", "5", "--duration", "1h", "-o", "json")

    async def configured() -> bool:
        proxies = await lab.admin("/proxies")
        rows = proxies["proxies"] if isinstance(proxies, dict) else proxies
        return len(rows) == 5

    await eventually(configured)
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    assert process.returncode == 130
    made = json.loads(out)
    assert made["interrupted"]
    server.child.check()


async def test_over_mutual_tls(lab: Lab) -> None:
    certs = lab.directory / "certs"
    assert CliRunner().invoke(cli, ["certs", str(certs), "--client", "shop/default"]).exit_code == 0
    lab.write("web.yaml", SERVICE)
    server, client = certs / "server", certs / "clients" / "shop" / "default"
    key = "--tls-key", str(server / "key.pem")
    await lab.serve("--tls-cert", str(server / "cert.pem"), *key, "--tls-client-ca", str(certs / "ca.pem"))
    tls = (
        "--tls-ca",
        str(client / "ca.pem"),
        "--tls-cert",
        str(client / "cert.pem"),
        "--tls-key",
        str(client / "key.pem"),
    )
    target = f"localhost:{lab.xds_port}"
    common = "--streams", "10", "--stalled", "1", "--duration", "0s", "--rate", "500"
    made = await measured(target, "-p", PROXY, *common, *tls)
    assert (made["configured"], made["tls"], made["errors"]) == (10, True, [])
    code, out, said = await run(target, "-p", "sidecar,namespace=other", *common, *tls)
    assert (code, out) == (3, "")
    assert "PERMISSION_DENIED" in said
    assert "see --proxy and --tls-cert" in said
    code, _, said = await run(target, *common)
    assert code == 3
    assert "it may want TLS (--tls-ca)" in said
