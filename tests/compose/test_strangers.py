"""Who comes to the xDS port of the running containers without the right certificate."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.compose.project import Project
from tests.e2e.harness import eventually
from tests.protocol.client import CDS
from tests.protocol.serving import DELTA_ADS, DeltaCall
from xds_server.cli.main import cli

from xds_server.xds.server import Options  # isort: skip  (sets the experiments before grpc is imported)

import grpc
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

assert Options
MINE = Node(id="mine")
MINE.metadata.update({"ROLE": "sidecar", "NAMESPACE": "shop", "SERVICE_ACCOUNT": "mine", "INTERCEPTION_MODE": "NONE"})


def certs(folder: Path, *clients: str) -> Path:
    arguments = [part for client in clients for part in ("--client", client)]
    made = CliRunner().invoke(cli, ["certs", str(folder), *arguments, "--key-mode", "644"])
    assert made.exit_code == 0, made.output
    return folder / "clients"


@pytest.fixture
def mine(project: Project, tmp_path: Path) -> Path:
    """The certificate for an Envoy outside, as docs/docker-compose.md gets it."""
    container = project.compose("ps", "-aq", "certs").strip()
    project.docker("cp", f"{container}:/certs/clients/shop/mine", str(tmp_path))
    return tmp_path / "mine"


def channel(project: Project, ca: Path, client: Path | None) -> grpc.aio.Channel:
    key, certificate = ((client / name).read_bytes() for name in ("key.pem", "cert.pem")) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(ca.read_bytes(), key, certificate)
    return grpc.aio.secure_channel(f"localhost:{project.ports['XDS_PORT']}", credentials)


async def end_of(connection: grpc.aio.Channel) -> grpc.StatusCode:
    """How a stream ends that is not served."""
    call = connection.stream_stream(DELTA_ADS)(wait_for_ready=False)
    return await call.code()


async def test_a_client_with_the_certificate_of_its_node_is_served(project: Project, mine: Path) -> None:
    async with channel(project, mine / "ca.pem", mine) as connection:
        call = connection.stream_stream(DELTA_ADS)()
        await call.write(DeltaDiscoveryRequest(type_url=CDS, node=MINE).SerializeToString())
        answer = DeltaDiscoveryResponse.FromString(await call.read())
        assert any("web.shop.internal" in resource.name for resource in answer.resources)


async def test_a_client_that_claims_to_be_another_is_refused(project: Project, mine: Path) -> None:
    async with channel(project, mine / "ca.pem", mine) as connection:
        call = DeltaCall(connection, node="router~10.0.0.1~ingress.shop~shop.svc.cluster.local")
        await call.ask(CDS)
        assert await call.call.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("has_certificate", [True, False], ids=["a foreign certificate", "no certificate"])
async def test_a_stranger_is_refused(project: Project, mine: Path, tmp_path: Path, has_certificate: bool) -> None:
    foreign = certs(tmp_path / "foreign", "shop/mine") / "shop" / "mine"
    async with channel(project, mine / "ca.pem", foreign if has_certificate else None) as connection:
        assert await end_of(connection) is grpc.StatusCode.UNAVAILABLE


async def test_an_envoy_with_a_foreign_certificate_gets_nothing(project: Project) -> None:
    """It has the bootstrap of the ingress gateway, and a certificate for its name, of another authority."""
    foreign = certs(project.directory / "foreign", "shop/ingress") / "shop" / "ingress"
    (foreign / "ca.pem").write_text(project.compose("exec", "-T", "xds-server", "cat", "/certs/ca.pem"))
    for folder in (project.directory, *foreign.parents[:3], foreign):
        folder.chmod(0o755)
    intruder = project.intruder(foreign)
    try:
        await eventually(lambda: _failed_handshakes(project, intruder) > 0, seconds=60)
        assert _stat(project, intruder, "control_plane.connected_state") == 0
        nodes = [row["node"] for row in await asyncio.to_thread(project.admin, "/proxies")]
        assert nodes.count("ingress") == 1
    finally:
        project.docker("rm", "-f", intruder)


def _failed_handshakes(project: Project, container: str) -> int:
    return _stat(project, container, "cluster.xds.upstream_cx_destroy_with_active_rq") + _stat(
        project, container, "cluster.xds.upstream_cx_connect_fail"
    )


def _stat(project: Project, container: str, name: str) -> int:
    """A statistic of an Envoy in a container, asked by bash: there is nothing else."""
    script = (
        "exec 3<>/dev/tcp/127.0.0.1/9901; "
        f"printf 'GET /stats?filter=^{name}$ HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n' >&3; cat <&3"
    )
    text = project.docker("exec", container, "bash", "-c", script)
    values = [line.partition(": ")[2] for line in text.splitlines() if line.startswith(f"{name}: ")]
    return int(yaml.safe_load(values[0])) if values else 0
