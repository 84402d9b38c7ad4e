"""Apps for the benchmarks with many of them: each a Service with a slice, and a route to it, in YAML."""

from __future__ import annotations

import msgspec


class App(msgspec.Struct, frozen=True):
    """generation: written into a response header by the route."""

    namespace: int
    number: int
    address: str
    port: int
    generation: int = 0

    @property
    def host(self) -> str:
        return f"app-{self.number}.mesh-{self.namespace}.example.com"

    @property
    def key(self) -> str:
        return f"mesh-{self.namespace}.app-{self.number}"

    def service(self) -> str:
        meta = f"namespace: mesh-{self.namespace}"
        return f"""
apiVersion: v1
kind: Service
metadata: {{name: app-{self.number}, {meta}, labels: {{app: app-{self.number}}}}}
spec:
  clusterIP: 10.{self.namespace // 250}.{self.namespace % 250}.{self.number % 250}
  selector: {{app: app-{self.number}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: app-{self.number}-1
  {meta}
  labels: {{kubernetes.io/service-name: app-{self.number}}}
addressType: IPv4
ports: [{{name: http, port: {self.port}}}]
endpoints:
- addresses: [{self.address}]
  conditions: {{ready: true, serving: true, terminating: false}}
  nodeName: node-{self.number % 20}
  zone: zone-a
"""

    def route(self) -> str:
        return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app-{self.number}, namespace: mesh-{self.namespace}}}
spec:
  hosts: [{self.host}]
  gateways: [default/edge]
  http:
  - route: [{{destination: {{host: app-{self.number}, port: {{number: 80}}}}}}]
    headers: {{response: {{set: {{x-generation: "{self.generation}"}}}}}}
"""


def apps(namespaces: int, each: int, address: str = "127.0.0.1", port: int = 8080) -> list[App]:
    return [App(namespace, number, address, port) for namespace in range(namespaces) for number in range(each)]
