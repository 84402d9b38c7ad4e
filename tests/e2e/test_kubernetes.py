"""What kubectl changes in a real API server is followed by requests through a real Envoy."""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.x509.oid import NameOID
from envoy.config.core.v3.base_pb2 import Node as NodeMessage
from google.protobuf.struct_pb2 import Struct

from tests.cluster import ApiServer, Cluster, cluster_for_test, own_api_server
from tests.e2e.harness import Lab, answered, eventually
from tests.e2e.test_serve import SUBSETS, gateway, routes, service
from tests.protocol.serving import DeltaCall
from xds_server.bootstrap import Node
from xds_server.demo.client import Target
from xds_server.demo.ports import free_port
from xds_server.demo.processes import child
from xds_server.demo.processes import server as serving
from xds_server.demo.system import Workload
from xds_server.envoy.resource import TYPES


class Site:
    """`web.example`, in two versions, behind a gateway, all of it in a cluster."""

    def __init__(self, lab: Lab, cluster: Cluster) -> None:
        self.lab, self.cluster = lab, cluster
        self.target = Target(free_port(), "web.example")
        self.edge = Node("edge", namespace=cluster.namespace, labels=(("app", "edge"),))
        self.options = ("--source", "kubernetes", "--kubeconfig", str(cluster.kubeconfig), "-n", cluster.namespace)

    async def apply(self, *texts: str) -> None:
        await self.cluster.apply(*(text.replace("default", self.cluster.namespace) for text in texts))

    async def start(self, *options: str) -> None:
        self.v1, self.v2 = await self.lab.upstream("web", "v1"), await self.lab.upstream("web", "v2")
        await self.apply(gateway(self.target.port), service("web", self.v1, self.v2), SUBSETS, routes(100, 0))
        await self.lab.serve(*self.options, *options)
        await self.lab.envoy(self.edge)
        await eventually(lambda: answered(self.target))


@pytest.fixture
async def site(lab: Lab) -> AsyncIterator[Site]:
    async with cluster_for_test() as cluster:
        found = Site(lab, cluster)
        await found.start()
        yield found


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with own_api_server(tmp_path) as running:
        await running.cluster.install()
        yield running


async def test_routes_endpoints_and_services_are_followed_and_no_request_is_dropped(site: Site) -> None:
    async with site.lab.load(site.target) as traffic:
        await site.apply(routes(0, 100))
        await eventually(lambda: traffic.share("v2") > 0.5)
        other = await site.lab.upstream("web", "v3")
        await site.apply(service("web", site.v1, Workload("web", "v2", other.host, other.port)))
        await eventually(lambda: traffic.share("v3") > 0.5)
        await site.apply(routes(100, 0))
        await eventually(lambda: traffic.share("v1") > 0.5)
        shop = await site.lab.upstream("shop", "v1")
        virtual = routes(100, 0).replace("web", "shop").replace(", subset: v1", "").split("    - destination")
        await site.apply(service("shop", shop), "    - destination".join(virtual[:2]))
        await eventually(lambda: answered(Target(site.target.port, "shop.example")))
        await site.cluster.delete("virtualservice/shop", "service/shop")
        await eventually(lambda: answered(Target(site.target.port, "shop.example"), status=404))
    assert traffic.failures == []


async def test_a_changed_label_of_a_pod_moves_it_to_another_subset(site: Site) -> None:
    async with site.lab.load(site.target) as traffic:
        namespace = site.cluster.namespace
        await site.cluster.kubectl("label", "pod", "web-1", "-n", namespace, "--overwrite", "version=v1")
        await eventually(lambda: traffic.share("v2") > 0.2)
        await site.cluster.kubectl("label", "pod", "web-0", "-n", namespace, "--overwrite", "version=v0")
        await eventually(lambda: traffic.share("v2") == 1.0)
    assert traffic.failures == []


SECURE = """
apiVersion: v1
kind: Service
metadata: {name: edge-tls, namespace: default}
spec:
  selector: {app: edge}
  ports: [{name: https, port: 443, targetPort: %d}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure, namespace: default}
spec:
  selector: {app: edge}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ["*"]
    tls: {mode: SIMPLE, credentialName: web-cert}
"""


@pytest.mark.parametrize("secrets", ["all", "referenced"])
async def test_a_certificate_is_taken_from_a_secret_and_followed(lab: Lab, secrets: str, tmp_path: Path) -> None:
    async with cluster_for_test() as cluster:
        site = Site(lab, cluster)
        await site.start("--secrets", secrets)
        port = free_port()
        await create_certificate(cluster, tmp_path, "first.example")
        await site.apply(SECURE % port)
        await eventually(lambda: certificate_name(port) == "first.example")
        await create_certificate(cluster, tmp_path, "second.example")
        await eventually(lambda: certificate_name(port) == "second.example")


async def create_certificate(cluster: Cluster, directory: Path, name: str) -> None:
    issued = trustme.CA().issue_cert("web.example", common_name=name)
    key, certificate = directory / "tls.key", directory / "tls.crt"
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(certificate)
    made = await cluster.kubectl(
        *("create", "secret", "tls", "web-cert", "-n", cluster.namespace, "--dry-run=client", "-o", "yaml"),
        *(f"--key={key}", f"--cert={certificate}"),
    )
    await cluster.apply(made)


def certificate_name(port: int) -> str:
    """The name in the certificate that a TLS port shows, empty if it shows none."""
    try:
        shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
    except OSError:
        return ""
    [name] = x509.load_pem_x509_certificate(shown.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


async def test_a_lost_api_server_is_told_and_costs_no_request(lab: Lab, server: ApiServer) -> None:
    site = Site(lab, server.cluster)
    await site.start()
    async with lab.load(site.target) as traffic:
        await server.kill()
        await eventually(lambda: is_stale(lab))
        assert (await lab.admin("/readyz"))["ready"]
        assert 'xds_server_source_stale_seconds{source="kubernetes"} 0.0\n' not in await lab.admin("/metrics")
        await server.start()
        await eventually(lambda: is_fresh(lab))
        await site.apply(routes(0, 100))
        await eventually(lambda: traffic.share("v2") > 0.5)
    assert traffic.failures == []
    events = [event["event"] for event in lab.server.events]
    assert "source is back" in events


async def is_stale(lab: Lab) -> bool:
    return any(row["stale_seconds"] > 0 and row["problems"] for row in (await lab.admin("/readyz"))["sources"])


async def is_fresh(lab: Lab) -> bool:
    return all(row["synced"] and not row["stale_seconds"] for row in (await lab.admin("/readyz"))["sources"])


async def test_a_server_that_starts_without_its_cluster_empties_no_proxy(lab: Lab, server: ApiServer) -> None:
    site = Site(lab, server.cluster)
    await site.start()
    await server.kill()
    await lab.stop(signal.SIGKILL)
    async with lab.load(site.target) as traffic:
        restarting = asyncio.ensure_future(lab.serve(*site.options))
        log = lab.directory / "server.log"
        await eventually(lambda: "source cannot be read yet" in log.read_text())
        await server.start()
        await restarting
        await site.apply(routes(0, 100))
        await eventually(lambda: traffic.share("v2") > 0.5)
    assert traffic.failures == []


async def test_a_server_that_waits_for_its_cluster_can_be_ended(lab: Lab, server: ApiServer) -> None:
    site = Site(lab, server.cluster)
    await server.kill()
    command = [sys.executable, "-m", "xds_server", "serve", *site.options, "--xds-port", "0", "--admin-port", "0"]
    async with child(command, lab.directory / "server.log") as waiting:
        await eventually(lambda: "source cannot be read yet" in waiting.log.read_text())
        assert await waiting.stop(signal.SIGTERM) == 0
        assert "stopped" in waiting.log.read_text()


async def test_two_replicas_serve_the_same_bytes_and_versions(site: Site, tmp_path: Path) -> None:
    """Also when one of them saw the changes and the other only what came of them."""
    await site.apply(routes(50, 50))
    await site.cluster.delete("virtualservice/web")
    await site.apply(routes(20, 80))
    async with serving(site.lab.config, tmp_path, *site.options) as other:
        await eventually(lambda: same_resources(site, site.lab.server.xds_port, other.xds_port))
        await site.apply(routes(70, 30))
        await eventually(lambda: same_resources(site, site.lab.server.xds_port, other.xds_port))


async def same_resources(site: Site, one: int, other: int) -> bool:
    first, second = [await resources(site, port) for port in (one, other)]
    assert first == second
    return len(first) > 5


async def resources(site: Site, port: int) -> dict[tuple[str, str], tuple[str, bytes]]:
    """(type, name) -> version and bytes of everything that the gateway is offered."""
    found: dict[tuple[str, str], tuple[str, bytes]] = {}
    metadata = Struct()
    metadata.update({"ROLE": "gateway", "NAMESPACE": site.cluster.namespace, "LABELS": {"app": "edge"}})
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for type_url in TYPES.values():
            call = DeltaCall(channel)
            call._node.MergeFrom(NodeMessage(id="probe", metadata=metadata))
            await call.ask(type_url, ["*"])
            for resource in (await call.read()).resources:
                found[type_url, resource.name] = resource.version, resource.resource.value
            call.call.cancel()
    return found
