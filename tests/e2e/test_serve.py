"""The server under edits while requests run through a real Envoy."""

from __future__ import annotations

import signal
from itertools import count
from typing import Any

import pytest

from tests.e2e.harness import Lab, answered, eventually
from xds_server.bootstrap import Node
from xds_server.demo.client import Target
from xds_server.demo.ports import free_port
from xds_server.demo.system import Workload

EDGE = Node("edge", labels=(("app", "edge"),))


def gateway(port: int) -> str:
    """The Gateway and the Service of the proxy `EDGE`, which listens on the port."""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: edge, namespace: default}}
spec:
  selector: {{app: edge}}
  ports: [{{name: http, port: 80, targetPort: {port}}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec:
  selector: {{app: edge}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ["*"]}}]
"""


def routes(v1: int, v2: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: default}}
spec:
  hosts: [web.example]
  gateways: [edge]
  http:
  - route:
    - destination: {{host: web, subset: v1}}
      weight: {v1}
    - destination: {{host: web, subset: v2}}
      weight: {v2}
"""


def service(name: str, *workloads: Workload) -> str:
    """A Service, and for each workload a Pod and a slice of it, with the workload's own port."""
    documents = [
        f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec:
  ports: [{{name: http, port: 80}}]
"""
    ]
    documents += [
        f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}-{number}, namespace: default, labels: {{app: {name}, version: {one.version}}}}}
spec: {{containers: [{{name: app, image: example}}]}}
status:
  phase: Running
  podIP: {one.host}
  conditions: [{{type: Ready, status: "True"}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-{number}, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {one.port}}}]
endpoints:
- addresses: [{one.host}]
  conditions: {{ready: true}}
  targetRef: {{kind: Pod, name: {name}-{number}, namespace: default}}
"""
        for number, one in enumerate(workloads)
    ]
    return "---".join(documents)


SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
"""


class Web:
    """A lab where `web.example` is served by two versions of a service behind a gateway."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.target = Target(free_port(), "web.example")

    async def start(self) -> None:
        self.v1, self.v2 = await self.lab.upstream("web", "v1"), await self.lab.upstream("web", "v2")
        self.lab.write("gateway.yaml", gateway(self.target.port))
        self.lab.write("web.yaml", service("web", self.v1, self.v2))
        self.lab.write("subsets.yaml", SUBSETS)
        self.lab.write("routes.yaml", routes(100, 0))
        await self.lab.serve()
        await self.lab.envoy(EDGE)
        await eventually(lambda: answered(self.target))


@pytest.fixture
async def web(lab: Lab) -> Web:
    site = Web(lab)
    await site.start()
    return site


async def test_an_edited_weight_moves_the_traffic_and_drops_nothing(web: Web) -> None:
    async with web.lab.load(web.target) as traffic:
        assert traffic.share("v1") == 1.0
        web.lab.write("routes.yaml", routes(0, 100))
        await eventually(lambda: traffic.share("v2") > 0.5)
        web.lab.write("routes.yaml", routes(100, 0))
        await eventually(lambda: traffic.share("v2") < 0.5)
    assert traffic.failures == []


async def test_a_broken_file_is_reported_and_its_objects_keep_their_last_good_form(web: Web) -> None:
    async with web.lab.load(web.target) as traffic:
        web.lab.write("routes.yaml", routes(100, 0) + "  oops: [\n")
        entry = await web.lab.found("routes.yaml:")
        assert entry["level"] == "error"
        place = entry["event"].partition(": ")[0].removeprefix(str(web.lab.config)).split(":")
        assert int(place[1]) > 1
        assert int(place[2]) >= 1
        web.lab.write("subsets.yaml", SUBSETS + "  # still served\n")
        web.lab.write("routes.yaml", routes(0, 100))
        await web.lab.found("routes.yaml:", state="gone")
        await eventually(lambda: traffic.share("v2") > 0.5)
    assert traffic.failures == []


async def test_a_service_and_its_route_come_and_go_while_others_are_used(web: Web) -> None:
    shop = await web.lab.upstream("shop", "v1")
    other = Target(web.target.port, "shop.example")
    virtual = routes(100, 0).replace("web", "shop").replace(", subset: v1", "").split("    - destination")
    async with web.lab.load(web.target) as traffic:
        web.lab.write("shop.yaml", service("shop", shop))
        web.lab.write("shop-route.yaml", "    - destination".join(virtual[:2]))
        await eventually(lambda: answered(other))
        web.lab.delete("shop-route.yaml")
        await eventually(lambda: answered(other, status=404))
        web.lab.delete("shop.yaml")
        await eventually(lambda: answered(web.target))
    assert traffic.failures == []


async def test_an_invalid_object_hurts_nobody_else(web: Web) -> None:
    async with web.lab.load(web.target) as traffic:
        web.lab.write("bad.yaml", routes(100, 0).replace("name: web,", "name: bad,").replace("http:", "htpp:"))
        await web.lab.found("VirtualService/default/bad", "htpp")
        web.lab.write("routes.yaml", routes(0, 100))
        await eventually(lambda: traffic.share("v2") > 0.5)
    assert traffic.failures == []


async def test_a_server_that_starts_on_broken_files_serves_the_rest(lab: Lab) -> None:
    lab.write("broken.yaml", "kind: [\n")
    lab.write("unknown.yaml", "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n")
    site = Web(lab)
    await site.start()
    await lab.found("broken.yaml:")
    assert (await lab.admin("/readyz"))["ready"]


async def test_an_empty_directory_starts_and_says_so(lab: Lab) -> None:
    await lab.serve()
    await lab.found("no objects were found")
    await lab.envoy(EDGE)
    await lab.accepted(EDGE.id)
    assert [row["node"] for row in await lab.admin("/proxies")] == [EDGE.id]


async def test_the_admin_endpoints_tell_what_there_is(web: Web) -> None:
    config = {"name": str(web.lab.config), "synced": True, "stale_seconds": 0, "problems": []}
    assert (await web.lab.admin("/readyz")) == {"ready": True, "reasons": [], "stale": [], "sources": [config]}
    assert (await web.lab.admin("/healthz")) == {"status": "ok"}
    assert (await web.lab.admin("/diagnostics")) == []
    assert "# TYPE" in await web.lab.admin("/metrics")
    [row] = await web.lab.admin("/proxies")
    assert row["node"] == EDGE.id


async def test_a_profile_of_the_running_server_is_written_on_a_signal_and_at_the_end(lab: Lab) -> None:
    profile = lab.directory / "profile"
    lab.write("gateway.yaml", gateway(1))
    serving = await lab.serve("--profile", str(profile))

    def profiles() -> list[dict[str, Any]]:
        return [event for event in serving.events if event["event"] == "profile"]

    numbers = count(2)

    def is_in_it_what_the_loop_did() -> bool:
        """A server that is idle has nothing to tell: it is given something to do each time that it is asked."""
        lab.write("gateway.yaml", gateway(next(numbers)))
        serving.child.process.send_signal(signal.SIGUSR2)
        return profile.exists() and "MainThread;" in profile.read_text()

    await eventually(is_in_it_what_the_loop_did)
    await eventually(profiles)
    assert await lab.stop(signal.SIGTERM) == 0
    before, last = profiles()[0], profiles()[-1]
    assert before is not last
    assert last["cpu_seconds"] >= before["cpu_seconds"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_ends_the_server_cleanly_while_proxies_are_connected(web: Web, how: signal.Signals) -> None:
    assert await web.lab.stop(how) == 0
    last = [event["event"] for event in web.lab.server.events][-2:]
    assert last == ["draining", "stopped"]
    assert (await answered(web.target)).ok  # Envoy goes on with what it has


async def test_a_restarted_server_takes_its_proxies_back_without_a_dropped_request(web: Web) -> None:
    async with web.lab.load(web.target) as traffic:
        await web.lab.stop(signal.SIGKILL)
        web.lab.write("routes.yaml", routes(0, 100))
        await web.lab.serve()
        await eventually(lambda: traffic.share("v2") > 0.5)
    assert traffic.failures == []
