"""Every bootstrap of examples/envoy brings its client to the server, and the client does what it is told."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.e2e.harness import Lab, answered, eventually
from xds_server.cli.main import cli
from xds_server.demo.client import Target
from xds_server.demo.ports import free_port
from xds_server.demo.processes import child, find_envoy

from xds_server.xds.server import Options  # isort: skip  (sets the experiments before grpc is imported)

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

EXAMPLES = Path(__file__).parents[2] / "examples" / "envoy"
ASK = """
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
with grpc.insecure_channel("xds:///web.production.svc.cluster.local:80") as channel:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=30, wait_for_ready=True)
print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
"""
assert Options


def system(gateway_port: int, web_port: int) -> str:
    """A service `web` in `production`, with one endpoint, and a way to it for the gateway of the examples."""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: ingress, namespace: production}}
spec:
  selector: {{istio: ingressgateway}}
  ports: [{{name: http, port: 80, targetPort: {gateway_port}}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: ingress, namespace: production}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ["*"]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: production}}
spec:
  hosts: [web.example]
  gateways: [ingress]
  http: [{{route: [{{destination: {{host: web}}}}]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: production}}
spec:
  ports: [{{name: http, port: 80}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web, namespace: production, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: {web_port}}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
"""


async def serve(lab: Lab, is_tls: bool) -> None:
    if not is_tls:
        await lab.serve()
        return
    certs = lab.directory / "certs"
    made = CliRunner().invoke(
        cli, ["certs", str(certs), "--client", "production/ingress", "--client", "production/web"]
    )
    assert made.exit_code == 0, made.output
    server = certs / "server"
    options = {"--tls-cert": server / "cert.pem", "--tls-key": server / "key.pem", "--tls-client-ca": certs / "ca.pem"}
    await lab.serve(*(str(part) for option in options.items() for part in option))


def placed(lab: Lab, name: str, **ports: int) -> Path:
    """The example with the ports and the directory of this lab."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in {"15010": lab.xds_port, **{key.removeprefix("p"): port for key, port in ports.items()}}.items():
        assert old in text
        text = text.replace(old, str(new))
    file = lab.directory / name
    file.write_text(text.replace("certs/", f"{lab.directory}/certs/"), encoding="utf-8")
    return file


@asynccontextmanager
async def envoy(lab: Lab, bootstrap: Path) -> AsyncIterator[None]:
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
    async with child([find_envoy(), "-c", bootstrap, *options], lab.directory / "envoy.log") as running:
        yield
        running.check()


@pytest.mark.parametrize("name", ["gateway.yaml", "gateway-tls.yaml"])
async def test_a_gateway_serves_what_it_is_told(lab: Lab, name: str) -> None:
    web, target = await lab.upstream("web", "v1"), Target(free_port(), "web.example")
    lab.write("system.yaml", system(target.port, web.port))
    await serve(lab, "tls" in name)
    async with envoy(lab, placed(lab, name, p9901=free_port())):
        await eventually(lambda: answered(target))
        assert [row["node"] for row in await lab.admin("/proxies")] == ["gateway.production"]


@pytest.mark.parametrize("name", ["sidecar.yaml", "sidecar-tls.yaml"])
async def test_a_sidecar_serves_what_it_is_told(lab: Lab, name: str) -> None:
    web, target = await lab.upstream("web", "v1"), Target(free_port(), "web.production.svc.cluster.local")
    lab.write("system.yaml", system(free_port(), web.port))
    await serve(lab, "tls" in name)
    async with envoy(lab, placed(lab, name, p9902=free_port(), p15080=target.port)):
        await eventually(lambda: answered(target))
        assert [row["node"] for row in await lab.admin("/proxies")] == ["sidecar.production"]


@pytest.mark.parametrize("name", ["grpc.json", "grpc-tls.json"])
async def test_a_grpc_client_finds_its_service(lab: Lab, name: str) -> None:
    async with AsyncExitStack() as stack:
        backend = grpc.aio.server()
        servicer = health.aio.HealthServicer()
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, backend)
        port = backend.add_insecure_port("127.0.0.1:0")
        await backend.start()
        stack.push_async_callback(backend.stop, 0)
        lab.write("system.yaml", system(free_port(), port))
        await serve(lab, "tls" in name)
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            ASK,
            env=os.environ | {"GRPC_XDS_BOOTSTRAP": str(placed(lab, name))},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await client.communicate()
        assert out.decode().strip() == "SERVING", err.decode()
