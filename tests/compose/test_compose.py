"""What docs/docker-compose.md promises, on the running containers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from tests.compose.project import CONFIG, ROOT, Project
from tests.e2e.harness import answered, eventually
from xds_server.demo.client import Target, exchange, fetch
from xds_server.demo.traffic import Traffic, requests

WEB = (CONFIG / "web.yaml").read_text(encoding="utf-8")
ALL_TO_V2 = WEB.replace("weight: 80", "weight: 0").replace("weight: 20", "weight: 100")
ENVOYS = {"ingress", "egress", "frontend-sidecar", "orders-sidecar"}
CLASH = """
apiVersion: v1
kind: Service
metadata: {name: clash, namespace: shop, annotations: {networking.istio.io/exportTo: "~"}}
spec:
  selector: {istio: ingressgateway}
  ports: [{name: http, port: 9901, targetPort: 9901}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: clash, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 9901, name: http, protocol: HTTP}, hosts: ["*"]}]
"""
"""A gateway that wants the port of Envoy's own admin interface; only Envoy can know."""


async def versions(target: Target, count: int) -> Counter[str]:
    """Who answers so many requests."""
    replies = [await answered(target) for _ in range(count)]
    return Counter(reply.json()["version"] for reply in replies)


@contextlib.asynccontextmanager
async def load(target: Target) -> AsyncIterator[Traffic]:
    """Requests in a constant loop, before, during and after what the block does."""
    traffic = Traffic()
    async with requests(target, traffic, pause=0.02):
        await eventually(lambda: traffic.total > 20)
        yield traffic
        seen = traffic.total
        await eventually(lambda: traffic.total > seen + 40)


def refused(project: Project) -> list[Any]:
    """The findings about what a proxy refuses."""
    return [finding for finding in project.admin("/diagnostics") if finding["code"].startswith("XDS7")]


async def everyone_is_connected(project: Project) -> bool:
    rows = await asyncio.to_thread(project.admin, "/proxies")
    return {row["node"] for row in rows} >= {"ingress", "egress", "frontend", "orders"}


async def test_everything_is_healthy(project: Project) -> None:
    await eventually(lambda: "starting" not in project.health().values(), seconds=120)
    health = project.health()
    assert health.pop("certs") == "exited"
    assert set(health.values()) == {"healthy"}, health
    assert health.keys() >= ENVOYS


def test_no_container_has_more_rights_than_it_needs(project: Project) -> None:
    for container in project.containers():
        host, name = container["HostConfig"], project.service(container)
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert host["Privileged"] is False
        assert container["Config"]["User"] not in ("", "0:0") or name == "certs"
        published = [bind["HostIp"] for binds in (host["PortBindings"] or {}).values() for bind in binds]
        assert set(published) <= {"127.0.0.1"}, name


async def test_the_server_has_no_complaint_about_the_config(project: Project) -> None:
    await eventually(lambda: project.admin("/diagnostics") == [])


async def test_the_canary_is_split_by_weight(project: Project) -> None:
    await eventually(lambda: answered(project.target()))
    counted = await versions(project.target(), 300)
    assert 200 <= counted["v1"] <= 280, counted  # 240 expected; 5.8 standard deviations


async def test_a_header_chooses_the_version(project: Project) -> None:
    assert await versions(project.target(end_user="tester"), 20) == {"v2": 20}


async def test_an_edited_file_is_followed_without_a_failed_request(project: Project) -> None:
    async with load(project.target()) as traffic:
        project.write("web.yaml", ALL_TO_V2)
        await eventually(lambda: traffic.share("v2") > 0.6)
    assert traffic.failures == []


async def test_a_broken_edit_is_reported_with_its_place_and_changes_nothing(project: Project) -> None:
    async with load(project.target()) as traffic:
        project.write("web.yaml", WEB + "  oops: [\n")
        await eventually(lambda: "/etc/xds-server/config/web.yaml:" in project.compose("logs", "xds-server"))
    assert traffic.failures == []


async def test_what_failed_is_tried_again(project: Project) -> None:
    reply = await answered(project.target(x_answer="503,503,200"))
    assert reply.json()["headers"]["x-envoy-attempt-count"] == "3"
    assert (await fetch(project.target(x_answer="503"))).status == 503


async def test_a_fault_is_injected(project: Project) -> None:
    assert (await fetch(project.target(x_fault="abort"))).status == 418


async def test_the_gateway_ends_tls_with_the_certificate_that_was_made(project: Project) -> None:
    await answered(project.secure_target())
    stranger = Target(project.ports["HTTPS_PORT"], "shop.example", tls=ssl.create_default_context())
    assert "certificate verify failed" in (await fetch(stranger)).error


async def test_tcp_goes_through_the_gateway_and_a_sidecar(project: Project) -> None:
    assert await exchange(project.redis, b"PING\r\n", until=b"\r\n") == b"+PONG\r\n"
    ask = "import socket; s = socket.create_connection(('127.0.0.1', 6379), 5); s.send(b'PING\\r\\n'); print(s.recv(9))"
    assert "PONG" in await project.do("exec", "-T", "frontend", "python", "-c", ask)


async def chain(project: Project) -> list[Any]:
    """What frontend, orders and the partner answered each other."""
    hops = [(await answered(project.target("frontend.example"))).json()]
    while called := hops[-1].get("called"):
        hops.append(called)
    assert [hop.get("app") for hop in hops] == ["frontend", "orders", "partner"], hops
    return hops


async def test_a_chain_of_calls_goes_through_sidecars_and_the_egress_gateway(project: Project) -> None:
    *_, partner = await eventually(lambda: chain(project))
    assert partner["headers"]["x-passed"] == "egress"


async def test_others_reach_a_service_through_its_sidecar_only(project: Project) -> None:
    ask = "import sys, urllib.request as r; print(r.urlopen(f'http://orders:{sys.argv[1]}/').status)"
    assert await project.do("exec", "-T", "web-v1", "python", "-c", ask, "9080") == "200\n"
    with pytest.raises(AssertionError, match="Connection refused"):
        await project.do("exec", "-T", "web-v1", "python", "-c", ask, "8080")


async def test_there_is_no_way_to_the_partner_but_the_egress_gateway(project: Project) -> None:
    ask = "import socket; socket.create_connection(('partner', 8080), 2)"
    with pytest.raises(AssertionError, match=r"gaierror|timed out"):
        await project.do("exec", "-T", "orders", "python", "-c", ask)


async def test_a_listener_that_envoy_refuses_hurts_nothing_else(project: Project) -> None:
    async with load(project.target()) as traffic:
        project.write("clash.yaml", CLASH)
        [finding] = await eventually(lambda: refused(project))
        assert finding["message"].startswith("ingress refused lds '0.0.0.0_9901'")
        assert finding["object"] == "Gateway/shop/clash"
        assert finding["file"] == "/etc/xds-server/config/clash.yaml"
        project.write("web.yaml", ALL_TO_V2)
        await eventually(lambda: traffic.share("v2") > 0.6)
        (project.config / "clash.yaml").unlink()
        await eventually(lambda: project.admin("/diagnostics") == [])
    assert traffic.failures == []


async def test_the_server_is_killed_and_comes_back_under_load(project: Project) -> None:
    async with load(project.target()) as traffic:
        await project.do("kill", "xds-server")
        seen = traffic.total
        await eventually(lambda: traffic.total > seen + 100)
        project.write("web.yaml", ALL_TO_V2)
        await project.do("start", "xds-server")
        await eventually(lambda: traffic.share("v2") > 0.6, seconds=90)
        await eventually(lambda: everyone_is_connected(project), seconds=90)
    assert traffic.failures == []


async def test_an_envoy_is_killed_and_comes_back(project: Project) -> None:
    await project.do("kill", "ingress")
    assert (await fetch(project.target())).status == 0
    project.write("web.yaml", ALL_TO_V2)
    await project.do("start", "ingress")
    await eventually(lambda: answered(project.target()), seconds=90)
    await eventually(lambda: everyone_is_connected(project), seconds=90)
    assert await versions(project.target(), 10) == {"v2": 10}


async def test_a_backend_is_killed_and_the_other_versions_go_on(project: Project) -> None:
    project.write("web.yaml", ALL_TO_V2)
    await eventually(lambda: _all_v2(project))
    async with load(project.target()) as traffic:
        await project.do("kill", "web-v1")
        seen = traffic.total
        await eventually(lambda: traffic.total > seen + 100)
        await project.do("start", "web-v1")
    assert traffic.failures == []
    project.restore()
    await eventually(lambda: _some_v1(project), seconds=90)


async def _all_v2(project: Project) -> bool:
    return await versions(project.target(), 20) == {"v2": 20}


async def _some_v1(project: Project) -> bool:
    return bool((await versions(project.target(), 20))["v1"])


async def test_sigterm_ends_the_server_cleanly(project: Project) -> None:
    await project.do("stop", "-t", "30", "xds-server")
    [state] = [item["State"] for item in project.containers() if project.service(item) == "xds-server"]
    assert state["ExitCode"] == 0
    await project.do("start", "xds-server")
    await eventually(lambda: everyone_is_connected(project), seconds=90)


async def test_the_metrics_are_where_prometheus_looks_for_them(project: Project) -> None:
    scraped = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())["scrape_configs"]
    assert [job["static_configs"] for job in scraped] == [[{"targets": ["127.0.0.1:15014"]}]]
    assert "xds_server_build_info" in project.admin("/metrics")
    services = yaml.safe_load(project.compose("config", profile="observability"))["services"]
    assert services["prometheus"]["network_mode"] == "service:xds-server"
