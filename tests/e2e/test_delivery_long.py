"""Many changes and restarts under load, and many connections; XDS_SERVER_LONG=1 runs them in full.

In full: 1,000 changes with 20 kill -9 in each variant, 10,000 connections and 10,000 changes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
from pathlib import Path

import pytest

from tests.e2e.harness import Lab, answered, eventually
from tests.e2e.test_delivery import VARIANTS, envoy
from tests.protocol.client import CDS, EDS, assignment, cluster
from tests.protocol.serving import DeltaCall, Serving, serving, until
from xds_server.demo.client import Target
from xds_server.demo.ports import free_port
from xds_server.demo.system import Workload

FULL = bool(os.environ.get("XDS_SERVER_LONG"))
CHANGES, RESTARTS = (1000, 20) if FULL else (24, 2)
CONNECTIONS = 10_000 if FULL else 200


def configuration(step: int, port: int, other_port: int, upstreams: list[Workload], renamed: int) -> str:
    """Every step changes weights, the routes and a header that names the step; now and then endpoints (3), a further
    service (4), and a further listener (5) change. renamed: the names of the subsets, and so of the clusters."""
    one, two = f"s{renamed}a", f"s{renamed}b"
    weight = (step * 37) % 101
    swapped = upstreams if step % 3 else upstreams[::-1]
    extra = "".join(_service(f"extra-{i}", 80, {}) for i in range(step % 4))
    more = (
        f"\n  - {{port: {{number: {other_port}, name: more, protocol: HTTP}}, hosts: ['*']}}" if step % 5 == 0 else ""
    )
    return f"""
{_service("web", 80, {"v1": swapped[0].port, "v2": swapped[1].port})}
{extra}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec:
  selector: {{app: edge}}
  servers:
  - {{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ["*"]}}{more}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web, namespace: default}}
spec:
  host: web
  subsets: [{{name: {one}, labels: {{version: v1}}}}, {{name: {two}, labels: {{version: v2}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: default}}
spec:
  hosts: ["*"]
  gateways: [edge]
  http:
  - match: [{{uri: {{prefix: /only-{step}}}}}]
    route: [{{destination: {{host: web, subset: {one}}}}}]
  - headers: {{response: {{set: {{x-step: "{step}"}}}}}}
    route:
    - {{destination: {{host: web, subset: {one}}}, weight: {weight}}}
    - {{destination: {{host: web, subset: {two}}}, weight: {100 - weight}}}
"""


def _service(name: str, port: int, versions: dict[str, int]) -> str:
    """A Service, and for each version a Pod and a slice of it."""
    pods = "".join(
        f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}-{version}, namespace: default, labels: {{app: {name}, version: {version}}}}}
spec: {{containers: [{{name: {name}, image: none}}]}}
status: {{podIP: 127.0.0.1}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-{version}, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {target}}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: {name}-{version}}}}}]
"""
        for version, target in versions.items()
    )
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: {port}}}]}}
{pods}"""


@VARIANTS
@pytest.mark.timeout(3600 if FULL else 180)
async def test_changes_and_kills_under_load_lose_no_request(lab: Lab, api_type: str) -> None:
    upstreams = [await lab.upstream("web", "v1"), await lab.upstream("web", "v2")]
    port, other_port = free_port(), free_port()
    target = Target(port, "any.example")
    renamed = 0

    async def arrived(step: int) -> bool:
        return (await answered(target)).headers["x-step"] == str(step)

    def write(step: int) -> None:
        lab.write("all.yaml", configuration(step, port, other_port, upstreams, renamed))

    state = ("--state-dir", str(lab.directory / "state"))  # or in SotW old clusters could not be offered again
    write(0)
    await lab.serve(*state)
    async with envoy(lab, lab.xds_port, api_type, labels=(("app", "edge"),)):
        await eventually(lambda: arrived(0))
        async with lab.load(target, pause=0.002) as traffic:
            for step in range(1, CHANGES + 1):
                killed = step % (CHANGES // RESTARTS) == 0
                if killed:
                    await lab.stop(signal.SIGKILL)
                renamed += 1
                write(step)
                if killed:
                    await lab.serve(*state)
                await eventually(lambda step=step: arrived(step), f"step {step}")
        assert traffic.failures == []
        assert traffic.total > CHANGES


@pytest.mark.timeout(3600 if FULL else 120)
async def test_connections_and_changes_leave_nothing_behind() -> None:
    def publish(server: Serving, i: int) -> None:
        server.publish([cluster(f"c{i % 7}", str(i)), assignment(f"c{i % 7}", str(i))])

    async def connect_and_leave(server: Serving, count: int) -> None:
        for i in range(count):
            async with server.channel() as channel:
                call = DeltaCall(channel, node=f"router~1.2.3.4~gw.ns-{i % 5}~x")
                await call.ask(CDS)
                await call.read()
                await call.ask(EDS, ["c0"])
                publish(server, i)
                await call.read()
        await until(lambda: not server.fleet.proxies())

    def alive() -> tuple[int, int, int, int]:
        """Tasks, open files, objects, and bytes of memory."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = len(list(Path("/proc/self/fd").iterdir()))
        return len(asyncio.all_tasks()), files, len(gc.get_objects()), pages * resource.getpagesize()

    async with serving([cluster("c0"), assignment("c0")]) as server:
        await connect_and_leave(server, CONNECTIONS // 2)
        tasks, files, objects, memory = alive()
        await connect_and_leave(server, CONNECTIONS)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        _, files_after, objects_after, memory_after = alive()
        assert files_after <= files + 2
        assert objects_after - objects < 500 + CONNECTIONS / 20, "objects are left behind by each connection"
        assert memory_after - memory < 8 * 2**20, "of the server and its clients"
        assert len(server.fleet.groups()) == 5
