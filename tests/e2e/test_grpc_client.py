"""A stock gRPC client without a proxy, `xds:///service.ns.svc.cluster.local:port` (section 9 of the checklist)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.e2e.harness import Lab, eventually
from xds_server.bootstrap import Channel, Node, grpc_bootstrap
from xds_server.demo.ports import free_port

CALLER = Path(__file__).with_name("grpc_caller.py")
HOST = "echo.default.svc.cluster.local:80"


@asynccontextmanager
async def backend(name: str, fails: bool = False) -> AsyncIterator[int]:
    """A gRPC server on a free port that answers with its name, or with an error."""

    async def say(request: bytes, context: Any) -> bytes:
        if fails:
            await context.abort(grpc.StatusCode.INTERNAL, name)
        return name.encode()

    server = grpc.aio.server()
    handlers = {"Say": grpc.unary_unary_rpc_method_handler(say)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


class Caller:
    """A running client. recent: its last answers; streak: how many came since the last error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.recent: deque[str] = deque(maxlen=200)
        self.errors: list[str] = []
        self.streak = 0
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout
        while line := (await self.process.stdout.readline()).decode().strip():
            if line.startswith("error"):
                self.errors.append(line)
                self.streak = 0
            else:
                self.streak += 1
                self.recent.append(line)

    def counts(self) -> Counter[str]:
        return Counter(self.recent)

    def only(self, *names: str) -> bool:
        return len(self.recent) == 200 and set(self.recent) == set(names)


async def run(
    lab: Lab, *arguments: str, labels: tuple[tuple[str, str], ...] = (), **environment: str
) -> asyncio.subprocess.Process:
    """Starts Python as a gRPC client or server that the lab's server configures."""
    config = grpc_bootstrap(Node("client", role="grpc", labels=labels), Channel(port=lab.xds_port))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(config)} | environment,
    )


@asynccontextmanager
async def caller(lab: Lab, *headers: str) -> AsyncIterator[Caller]:
    process = await run(lab, str(CALLER), f"xds:///{HOST}", *headers)
    running = Caller(process)
    try:
        yield running
    finally:
        process.kill()
        await process.wait()
        await running.reading


def service(**ports: int) -> str:
    """The Service `echo`; each version is a slice of one endpoint with a port of its own."""
    slices = "".join(
        f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: echo-{version}, namespace: default, labels: {{app: echo, version: {version}}}}}
spec: {{containers: [{{name: echo, image: none}}]}}
status: {{podIP: 127.0.0.1}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: echo-{version}, namespace: default, labels: {{kubernetes.io/service-name: echo}}}}
addressType: IPv4
ports: [{{name: grpc, port: {port}}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: echo-{version}}}}}]
"""
        for version, port in ports.items()
    )
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: default}}
spec: {{selector: {{app: echo}}, ports: [{{name: grpc, port: 80}}]}}
{slices}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: echo, namespace: default}}
spec:
  host: echo
  trafficPolicy: {{outlierDetection: {{consecutive5xxErrors: 5, interval: 1s, baseEjectionTime: 1s}}}}
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
"""


def split(v1: int, v2: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: echo, namespace: default}}
spec:
  hosts: [echo]
  http:
  - match: [{{headers: {{x-canary: {{exact: "yes"}}}}}}]
    route: [{{destination: {{host: echo, subset: v2}}}}]
  - route:
    - {{destination: {{host: echo, subset: v1}}, weight: {v1}}}
    - {{destination: {{host: echo, subset: v2}}, weight: {v2}}}
"""


async def test_a_stock_client_follows_weights_subsets_endpoints_and_matches_without_an_error(lab: Lab) -> None:
    async with AsyncExitStack() as stack:
        v1 = await stack.enter_async_context(backend("v1"))
        v2 = await stack.enter_async_context(backend("v2"))
        v3 = await stack.enter_async_context(backend("v3"))
        lab.write("service.yaml", service(v1=v1, v2=v2))
        await lab.serve()
        client = await stack.enter_async_context(caller(lab))
        await eventually(lambda: client.only("v1", "v2"), "both versions answer")
        lab.write("split.yaml", split(100, 0))
        await eventually(lambda: client.only("v1"), "all to v1")
        lab.write("split.yaml", split(50, 50))
        await eventually(lambda: 60 < client.counts()["v1"] < 140, "about the half to each")
        lab.write("split.yaml", split(0, 100))
        await eventually(lambda: client.only("v2"), "all to v2")
        lab.write("service.yaml", service(v1=v1, v2=v3))
        await eventually(lambda: client.only("v3"), "v2's endpoint is another")
        lab.write("split.yaml", split(100, 0))
        await eventually(lambda: client.only("v1"), "all to v1 again")
        canary = await stack.enter_async_context(caller(lab, "x-canary=yes"))
        await eventually(lambda: canary.only("v3"), "the header chooses the subset")
        assert client.errors == []
        assert canary.errors == []
        rows = await lab.admin("/proxies")
        assert {row["node"] for row in rows} == {"client"}


def two_endpoints(one: int, other: int) -> str:
    """One version of the service, with endpoints of two ports; one that fails five times in a second is left out."""
    both = (
        service(v1=one, v2=other)
        .replace("version: v2", "version: v1")
        .replace("baseEjectionTime: 1s", "baseEjectionTime: 600s")
    )
    return both.partition("  subsets:")[0]


async def test_9_5_an_endpoint_that_fails_is_left_out(lab: Lab) -> None:
    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(backend("good"))
        bad = await stack.enter_async_context(backend("bad", fails=True))
        lab.write("service.yaml", two_endpoints(good, bad))
        await lab.serve()
        client = await stack.enter_async_context(caller(lab))
        await eventually(lambda: bool(client.errors), "the bad one is asked in its turn")
        await eventually(lambda: client.streak > 200, "only the good one is asked")


async def test_a_service_that_comes_later_is_found(lab: Lab) -> None:
    async with AsyncExitStack() as stack:
        v1 = await stack.enter_async_context(backend("v1"))
        lab.write("other.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n")
        await lab.serve()
        client = await stack.enter_async_context(caller(lab))
        rows = await eventually(lambda: lab.admin("/proxies"), "the client is connected")
        assert len(rows) == 1
        lab.write("service.yaml", service(v1=v1))
        await eventually(lambda: client.only("v1"))


CALL_ONCE = """
import grpc, sys
try:
    grpc.insecure_channel(sys.argv[1]).unary_unary("/test.Echo/Say")(b"", timeout=14)
except grpc.RpcError as error:
    print(error.code().name)
"""


async def test_9_11_x11_a_call_of_a_service_that_does_not_exist_fails_before_the_client_gives_up_waiting(
    lab: Lab,
) -> None:
    """By itself gRPC waits 15 s for a listener, so that the call here would end with DEADLINE_EXCEEDED (gRFC A57). In
    grpcio 1.85 it has to be told to read the server's errors (gRFC A88)."""
    lab.write("other.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n")
    await lab.serve()
    process = await run(lab, "-c", CALL_ONCE, f"xds:///{HOST}", GRPC_EXPERIMENTAL_XDS_DATA_ERROR_HANDLING="true")
    assert (await process.communicate())[0].decode().strip() == "UNAVAILABLE"


SERVE = """
import grpc, sys
from concurrent.futures import ThreadPoolExecutor

server = grpc.server(ThreadPoolExecutor(), xds=True)
say = grpc.unary_unary_rpc_method_handler(lambda request, context: b"served")
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {"Say": say}),))
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
"""


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]"])
async def test_9_9_a_grpc_server_takes_its_listener_from_here(lab: Lab, address: str) -> None:
    """gRFC A36. Without the listener that it asks for, such a server answers nobody."""
    port = free_port()
    lab.write("service.yaml", service(v1=port).replace("port: 80", f"port: 80, targetPort: {port}"))
    await lab.serve()
    server = await run(lab, "-c", SERVE, f"{address}:{port}", labels=(("app", "echo"),))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            say = channel.unary_unary("/test.Echo/Say")
            assert await say(b"", wait_for_ready=True, timeout=20) == b"served"
    finally:
        server.kill()
        await server.wait()
