"""What holds where nothing is said, as `translate --explain-defaults` prints it."""

from __future__ import annotations

from click.testing import CliRunner

from tests.objects import seen
from xds_server.cli.main import cli
from xds_server.mesh.defaults import applied

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {app: edge}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [edge]
  http:
  - match: [{uri: {prefix: /said}}]
    timeout: 1s
    retries: {attempts: 1, retryOn: reset}
    route: [{destination: {host: web}}]
  - route: [{destination: {host: web}}]
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    connectionPool: {tcp: {connectTimeout: 1s}}
    tls: {mode: SIMPLE}
"""
WEB = "outbound|80||web.shop.svc.cluster.local"
UNSAID = "VirtualService/shop/web spec.http[1]"


def held(*texts: str) -> dict[str, tuple[str, ...]]:
    view, _ = seen(*texts)
    return {default.what: names for default, names in applied(view)}


def test_what_is_said_is_no_default() -> None:
    found = held(GATEWAY)
    assert found["time for a request"] == found["retries"] == (UNSAID,)
    assert found["time to connect"] == found["choice among endpoints"] == found["TLS to the endpoints"] == (WEB,)
    assert found["authorities of the endpoints"] == ()
    found = held(GATEWAY, RULE)
    assert found["time to connect"] == found["choice among endpoints"] == found["TLS to the endpoints"] == ()
    assert found["authorities of the endpoints"] == found["server name asked for"] == (WEB,)


def test_the_command_names_each_default_with_what_it_holds_for() -> None:
    result = CliRunner().invoke(cli, ["translate", "-", "--explain-defaults"], input=GATEWAY, catch_exceptions=False)
    assert f"time for a request: no limit  (VirtualService http[].timeout)\n  {UNSAID}\n" in result.stdout
