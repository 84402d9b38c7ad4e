"""Sidecars without redirection on a real Envoy: bound ports, the HTTP proxy, and a Sidecar's own listeners."""

from __future__ import annotations

import socket

from tests.e2e.harness import Lab, answered, eventually
from xds_server.bootstrap import Node
from xds_server.demo.client import Target, exchange
from xds_server.demo.ports import free_port
from xds_server.demo.system import Workload


def service(name: str, port_name: str, port: int, workload: Workload) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{ports: [{{name: {port_name}, port: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: {port_name}, port: {workload.port}}}]
endpoints: [{{addresses: [{workload.host}]}}]
---
"""


def sidecar(bound: int, opened: int, app: Workload, path: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: cart, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: cart}}}}
  ingress:
  - port: {{number: {opened}, protocol: HTTP, name: http}}
    bind: 127.0.0.1
    defaultEndpoint: 127.0.0.1:{app.port}
  egress:
  - port: {{number: {bound}, protocol: TCP, name: redis}}
    bind: 127.0.0.9
    hosts: ["./cache.shop.svc.cluster.local"]
  - port: {{number: 0, protocol: HTTP, name: socket}}
    bind: unix://{path}
    hosts: ["./*"]
  - hosts: ["./web.shop.svc.cluster.local"]
"""


def is_open(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


async def test_ports_of_the_sidecar(lab: Lab) -> None:
    web, redis, app = await lab.upstream("web"), await lab.upstream("redis"), await lab.upstream("cart")
    web_port, redis_port, opened, proxy_port = (free_port() for _ in range(4))
    services = service("web", "http", web_port, web) + service("cache", "tcp", redis_port, redis)
    lab.write("services.yaml", services)
    await lab.serve()
    node = Node("cart", "sidecar", "shop", (("app", "cart"),), "NONE", http_proxy_port=proxy_port)
    await lab.envoy(node)

    bound = Target(web_port, "web.shop")
    reply = await eventually(lambda: answered(bound))
    assert reply.json()["app"] == "web"
    await answered(Target(web_port, "nobody.example.com"), 502)
    assert await exchange(Target(redis_port, ""), b"PING\r\n", until=b"\n") == b"+PONG\r\n"

    asked = Target(proxy_port, f"web.shop.svc.cluster.local:{web_port}")
    assert (await answered(asked)).json()["app"] == "web"
    await answered(Target(proxy_port, "web.shop.svc.cluster.local:1"), 502)

    path = str(lab.directory / "out.sock")
    lab.write("sidecar.yaml", sidecar(redis_port, opened, app, path))
    reply = await eventually(lambda: answered(Target(opened, "whoever")))
    assert reply.json()["app"] == "cart"
    at_address = Target(redis_port, "", host="127.0.0.9")
    assert await exchange(at_address, b"PING\r\n", until=b"\n") == b"+PONG\r\n"
    over_socket = Target(0, f"web.shop:{web_port}", socket=path)
    assert (await eventually(lambda: answered(over_socket))).json()["app"] == "web"
    await answered(bound)
    await eventually(lambda: not is_open(redis_port), "the port that the Sidecar moved is closed")


async def test_settings_of_the_mesh_in_a_file_are_followed(lab: Lab) -> None:
    web = await lab.upstream("web")
    first, second = free_port(), free_port()
    lab.write("services.yaml", service("web", "http", free_port(), web))
    settings = lab.directory / "mesh.yaml"
    settings.write_text(f"proxyHttpPort: {first}\n")
    await lab.serve("--mesh-config", str(settings))
    await lab.envoy(Node("cart", "sidecar", "shop", (), "NONE"))
    unknown = "nobody.example.com"
    await eventually(lambda: answered(Target(first, unknown), 502))
    settings.write_text("proxyHttpPort: [\n")
    await lab.found("XDS1005", "mesh.yaml")
    await answered(Target(first, unknown), 502)
    settings.write_text(f"proxyHttpPort: {second}\n")
    await eventually(lambda: answered(Target(second, unknown), 502))
