"""Real Envoys and the server over mutual TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from tests.e2e.harness import Lab, answered, eventually
from tests.e2e.test_serve import EDGE, SUBSETS, gateway, routes, service
from xds_server.bootstrap import Node, Tls
from xds_server.cli.main import cli
from xds_server.demo.client import Target
from xds_server.demo.ports import free_port
from xds_server.demo.processes import Child, envoy


def certs(folder: Path, *arguments: str) -> None:
    made = CliRunner().invoke(cli, ["certs", str(folder), *arguments])
    assert made.exit_code == 0, made.output


class Secured:
    """A lab whose server wants certificates, with `web.example` behind the gateway of the proxy `EDGE`."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.certs = lab, lab.directory / "certs"
        self.target = Target(free_port(), "web.example")

    async def start(self) -> None:
        """Starts the server and the upstreams."""
        certs(self.certs)
        workloads = [await self.lab.upstream("web", version) for version in ("v1", "v2")]
        self.lab.write("gateway.yaml", gateway(self.target.port))
        self.lab.write("web.yaml", service("web", *workloads))
        self.lab.write("subsets.yaml", SUBSETS)
        self.lab.write("routes.yaml", routes(100, 0))
        files = "--tls-cert", "server/cert.pem", "--tls-key", "server/key.pem", "--tls-client-ca", "server/ca.pem"
        await self.lab.serve(*(str(self.certs / part) if part.endswith(".pem") else part for part in files))

    @asynccontextmanager
    async def proxy(self, node: Node, client: Path, ca: Path | None = None) -> AsyncIterator[Child]:
        """An Envoy with the certificate of the folder."""
        tls = Tls(str(ca or client / "ca.pem"), str(client / "cert.pem"), str(client / "key.pem"), "127.0.0.1")
        async with envoy(node, self.lab.xds_port, self.lab.directory, tls) as running:
            yield running

    @property
    def client(self) -> Path:
        return self.certs / "clients" / "default" / "default"

    async def counter(self, name: str) -> int:
        """A statistic of the Envoy."""
        stats = (await self.lab.ask_envoy(EDGE.id, "/stats?format=json"))["stats"]
        return next((item["value"] for item in stats if item.get("name") == name), 0)

    async def connected(self, *nodes: str) -> bool:
        """Whether these are all that are connected."""
        return {row["node"] for row in await self.lab.admin("/proxies")} == set(nodes)


@pytest.fixture
async def secured(lab: Lab) -> Secured:
    site = Secured(lab)
    await site.start()
    return site


async def test_a_new_authority_counts_for_new_proxies_while_the_others_go_on(secured: Secured) -> None:
    """Without a restart of anything, and without a failed request."""
    async with secured.proxy(EDGE, secured.client):
        await eventually(lambda: answered(secured.target))
        async with secured.lab.load(secured.target) as traffic:
            for file in ("ca.pem", "ca.key"):
                (secured.certs / file).unlink()
            certs(secured.certs)
            async with secured.proxy(replace(EDGE, id="second"), secured.client):
                await eventually(lambda: secured.connected("edge", "second"))
                secured.lab.write("routes.yaml", routes(0, 100))
                await eventually(lambda: traffic.share("v2") > 0.9)
                assert traffic.failures == []


async def test_a_proxy_with_a_foreign_certificate_is_refused(secured: Secured, tmp_path: Path) -> None:
    certs(tmp_path)
    foreign = tmp_path / "clients" / "default" / "default"
    async with secured.proxy(EDGE, foreign, secured.certs / "ca.pem"):
        await eventually(lambda: secured.counter("cluster.xds.upstream_cx_destroy"))
        assert await secured.connected()
        assert await secured.counter("control_plane.connected_state") == 0


async def test_a_proxy_refuses_a_server_with_a_foreign_certificate(secured: Secured, tmp_path: Path) -> None:
    certs(tmp_path)
    async with secured.proxy(EDGE, secured.client, tmp_path / "ca.pem"):
        await eventually(lambda: secured.counter("cluster.xds.ssl.fail_verify_error"))
        assert await secured.connected()


async def test_a_proxy_does_not_take_another_proxy_for_the_server(secured: Secured) -> None:
    certs(secured.certs, "--server", "elsewhere.example")
    async with secured.proxy(EDGE, secured.client):
        await eventually(lambda: secured.counter("cluster.xds.ssl.fail_verify_san"))
        assert await secured.connected()


async def test_a_proxy_that_claims_another_account_is_refused_and_named(secured: Secured) -> None:
    certs(secured.certs, "--client", "bank/teller")
    async with secured.proxy(EDGE, secured.certs / "clients" / "bank" / "teller"):
        logged = await secured.lab.server.event("a client claims to be another")
        assert logged["node"] == EDGE.id
        assert "ns/default/sa/default" in logged["error"]
        assert "ns/bank/sa/teller" in logged["error"]
        assert await secured.connected()
